"""One run of `quantbot bench engine` as a document: what was measured, where, and how far it can be relied on."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantbot_pipeline.bench import engine, processes
from quantbot_pipeline.bench.markets import BenchMarket, real_market, seeded_market
from quantbot_pipeline.bench.peers import PeerProcess, write_peer_data
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.workflows.progress import ProgressListener, StageListener, of_stage


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to measure.

    Attributes:
        tokens: Of the seeded market.
        candles: Of each of its tokens.
        calls: On all of them.
        sets: Parameter sets of the search.
        rounds: Repetitions of what takes milliseconds.
        slow_rounds: Repetitions of what takes seconds.
        candle_files: Real candles to measure on as well.
        chain: Only real tokens of this chain.
        peers_python: Python of the peers' environment; None leaves the peers out.
        is_cold: Whether to measure a compile from nothing.
        with_memory: Whether to measure the memory of the search.
    """

    tokens: int = 200
    candles: int = 10_000
    calls: int = 2_000
    sets: int = 1_000
    rounds: int = 15
    slow_rounds: int = 5
    candle_files: Sequence[Path] = ()
    chain: str | None = None
    peers_python: Path | None = None
    is_cold: bool = False
    with_memory: bool = False


def measure(plan: BenchPlan, command: str, on_stage: StageListener) -> dict[str, Any]:
    """Measure everything that the plan asks for.

    Args:
        plan: What to measure.
        command: The command line, for whoever wants to take the figures again.
        on_stage: Told the stage, units done and units in all.

    Raises:
        DataError: the candle files can't be used.
        SimulationError: a measured process failed.
    """
    began = datetime.now(UTC)
    load_before = os.getloadavg()[0]
    machine = engine.machine()
    markets = [seeded_market(plan.tokens, plan.candles, plan.calls)]
    if plan.candle_files:
        listen = of_stage(on_stage, "real candles")
        markets.append(real_market(plan.candle_files, chain=plan.chain, on_progress=listen))
    measured = [_measure_market(market, plan, machine["versions"], on_stage) for market in markets]
    document: dict[str, Any] = {
        "command": command,
        "engine_version": ENGINE_VERSION,
        "measured_at": f"{began:%Y-%m-%dT%H:%M:%SZ}",
        "machine": machine,
        "markets": measured,
    }
    on_stage("fresh processes", 0, 1)
    document["first_call"] = processes.measure_first_call(plan.slow_rounds)
    if plan.is_cold:
        document["cold_compile"] = processes.measure_cold_compile()
    if plan.with_memory:
        document["search_memory"] = processes.measure_search_memory(plan.tokens, plan.candles, plan.calls, plan.sets)
    on_stage("fresh processes", 1, 1)
    document["load"] = {"before": load_before, "after": os.getloadavg()[0]}
    document["noise"] = _noise(document)
    return document


def _measure_market(
    market: BenchMarket, plan: BenchPlan, versions: dict[str, str], on_stage: StageListener
) -> dict[str, Any]:
    def listener(what: str) -> ProgressListener:
        return of_stage(on_stage, f"{market.name}: {what}")

    prepared = engine.prepare(market)
    measured: dict[str, Any] = {
        "name": market.name,
        "tokens": len(market.candles),
        "candles": market.candle_count,
        "calls": market.call_count,
        "memory_limit": engine.measure_memory_limit(market, plan.rounds),
        "works": engine.measure_works(market, prepared, plan.rounds, listener("works")),
        "around": engine.measure_around(market, prepared, plan.slow_rounds),
        "search": engine.measure_search(market, prepared, plan.sets, listener("search")),
    }
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as folder:

        def start(python: Path, peer: str, part: BenchMarket) -> PeerProcess:
            data = Path(folder) / f"{peer}.npz"
            write_peer_data(part, data)
            process = PeerProcess(python, peer, data)
            versions.update({f"{name} (peers)": version for name, version in process.versions.items()})
            return process

        python = plan.peers_python
        measured["slower"] = engine.measure_slower(
            market,
            plan.slow_rounds,
            (lambda part: start(python, "backtesting.py", part)) if python is not None else None,
            listener("slower engines"),
        )
        if python is not None:
            with closing(start(python, "vectorbt", market)) as peer:
                measured["vectorbt"] = engine.measure_vectorbt(market, peer, plan.slow_rounds, listener("vectorbt"))
    if market.files:
        on_stage(f"{market.name}: quantbot simulate", 0, 1)
        measured["simulate_command"] = processes.measure_simulate_command(market, plan.slow_rounds)
        on_stage(f"{market.name}: quantbot simulate", 1, 1)
    return measured


def _noise(document: dict[str, Any]) -> list[str]:
    """Return why the figures can't be relied on; empty when they can."""
    cores = document["machine"]["cores"]
    reasons = [
        f"load average {load:.1f} {when} the run on {cores} cores"
        for when, load in document["load"].items()
        if load > cores
    ]
    for market in document["markets"]:
        for section in ("memory_limit", "works", "around", "search", "slower", "vectorbt"):
            noisy = sum(row["is_noisy"] for row in market.get(section, []))
            if noisy:
                reasons.append(f"{market['name']}, {section}: {noisy} timings with a wide spread")
        if market.get("simulate_command", {}).get("is_noisy"):
            reasons.append(f"{market['name']}, simulate_command: repetitions with a wide spread")
    if document["first_call"]["is_noisy"]:
        reasons.append("first_call: repetitions with a wide spread")
    return reasons
