"""The engine measured in this process: by work, mode and threads, in searches, and beside what is slower."""

import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantbot_pipeline.bench.markets import BenchMarket
from quantbot_pipeline.bench.peers import PeerProcess
from quantbot_pipeline.bench.python_loops import listed_calls, total_pnl_of
from quantbot_pipeline.bench.timing import Timing, race, timed
from quantbot_pipeline.bench.works import (
    DOCUMENTS,
    FULL_LADDER,
    SHARED_WORKS,
    STOP_AND_TARGET,
    searched_strategies,
    strategy_of,
)
from quantbot_pipeline.engine.fast import StrategyRun, iterate_runs, score_many, simulate_many
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

OURS = "quantbot"
SEARCH_BATCH = 50
"""Parameter sets per timed piece of a search; how the pieces differ tells how quiet the machine was."""

SHARE_CANDLES = 100_000
"""Engines that take some hundred times as long run on the first tokens, up to about so many candles."""


@dataclass(frozen=True)
class Work:
    """What one engine did once, whoever did it."""

    trades: int
    total_pnl: float
    candle_steps: int


def machine() -> dict[str, Any]:
    """Return what the figures depend on: cores, processor, versions."""
    import numba
    import pyarrow as pa

    return {
        "cores": core_count(),
        "processor": _processor(),
        "system": platform.platform(terse=True),
        "versions": {
            "python": platform.python_version(),
            "numba": numba.__version__,
            "numpy": np.__version__,
            "pyarrow": pa.__version__,
        },
    }


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def thread_counts() -> list[int]:
    """Return the numbers of threads that are measured: one, and all cores."""
    return sorted({1, core_count()})


def prepare(market: BenchMarket) -> PreparedMarkets:
    """Return a market as the kernels read it."""
    return PreparedMarkets(market.candles, market.calls)


def simulate(prepared: PreparedMarkets, strategy: Strategy, *, threads: int = 1, trace: bool = True) -> StrategyRun:
    """Return the run of one strategy."""
    return next(iterate_runs(prepared, [strategy], threads=threads, trace=trace))


def rates(timing: Timing, work: Work, candles: int) -> dict[str, Any]:
    """Return what one timing says, per second.

    Args:
        timing: Of the work.
        work: What was done; steps are candles that one trade went through, from its first until it was done.
        candles: Candles of the tokens that it was done on, each counted once.
    """
    return {
        "seconds": timing.best,
        "repetitions": len(timing.seconds),
        "spread": timing.spread,
        "is_noisy": timing.is_noisy,
        "trades": work.trades,
        "total_pnl": work.total_pnl,
        "candle_steps": work.candle_steps,
        "candle_steps_per_second": work.candle_steps / timing.best,
        "candles_per_second": candles / timing.best,
        "trades_per_second": work.trades / timing.best,
    }


def _work_of(run: StrategyRun) -> Work:
    return Work(len(run.trades_of), run.metrics().total_pnl, run.candle_steps)


def measure_memory_limit(market: BenchMarket, rounds: int) -> list[dict[str, Any]]:
    """Return how fast open, high, low and close can be read at all: their sums, by threads."""
    columns = [
        np.concatenate([getattr(candles, name) for candles in market.candles.values()])
        for name in ("open", "high", "low", "close")
    ]
    contestants: dict[str, Callable[[], float]] = {}
    with ThreadPoolExecutor(max(thread_counts())) as pool:
        for threads in thread_counts():
            pieces = [piece for column in columns for piece in np.array_split(column, threads)]

            def add(pieces: Sequence[Any] = pieces, threads: int = threads) -> float:
                sums = map(np.sum, pieces) if threads == 1 else pool.map(np.sum, pieces)
                return float(sum(sums))

            contestants[str(threads)] = timed(add)
        found = race(contestants, rounds)
    return [
        {
            "threads": int(threads),
            "seconds": timing.best,
            "spread": timing.spread,
            "is_noisy": timing.is_noisy,
            "candles_per_second": market.candle_count / timing.best,
        }
        for threads, timing in found.items()
    ]


def measure_works(
    market: BenchMarket, prepared: PreparedMarkets, rounds: int, on_progress: ProgressListener = no_progress
) -> list[dict[str, Any]]:
    """Return the rates of every work, with events and without, by threads."""
    contestants: dict[str, Callable[[], float]] = {}
    described: dict[str, tuple[dict[str, Any], Work]] = {}
    for name in DOCUMENTS:
        strategy = strategy_of(name)
        run = simulate(prepared, strategy)
        for mode, trace in (("events", True), ("metrics", False)):
            for threads in thread_counts():

                def work(strategy: Strategy = strategy, threads: int = threads, *, trace: bool = trace) -> StrategyRun:
                    return simulate(prepared, strategy, threads=threads, trace=trace)

                label = f"{name}, {mode}, {threads}"
                contestants[label] = timed(work)
                events = run.events_table().num_rows if trace else None
                described[label] = (
                    {"work": name, "mode": mode, "threads": threads, "events": events},
                    _work_of(run),
                )
    found = race(contestants, rounds, on_progress)
    return [
        {**row, **rates(found[label], work_done, market.candle_count)} for label, (row, work_done) in described.items()
    ]


def measure_around(market: BenchMarket, prepared: PreparedMarkets, rounds: int) -> list[dict[str, Any]]:
    """Return how long what is around the kernels takes for the full ladder, seconds."""
    strategy = strategy_of(FULL_LADDER)
    run = simulate(prepared, strategy)
    found = race(
        {
            "prepare candles and calls": timed(lambda: prepare(market)),
            "from candles to event rows": timed(lambda: simulate_many(market.candles, market.calls, [strategy])),
            "event table with JSON texts": timed(run.events_table),
            "simulate, with all metrics": timed(lambda: simulate(prepared, strategy).metrics()),
            "trades as objects": timed(run.trades),
        },
        rounds,
    )
    return [
        {"what": what, "seconds": timing.best, "spread": timing.spread, "is_noisy": timing.is_noisy}
        for what, timing in found.items()
    ]


def measure_search(
    market: BenchMarket, prepared: PreparedMarkets, sets: int, on_progress: ProgressListener = no_progress
) -> list[dict[str, Any]]:
    """Return the rates of a search of parameter sets of the full ladder, all metrics of each, by threads."""
    strategies = searched_strategies(sets)
    batches = [strategies[begin : begin + SEARCH_BATCH] for begin in range(0, sets, SEARCH_BATCH)]
    counts = thread_counts()
    steps, trades, pnl = [], 0, 0.0
    units, done = (1 + len(counts)) * len(batches), 0
    for batch in batches:
        of_batch = 0
        for run in iterate_runs(prepared, batch, threads=max(counts), trace=False):
            of_batch += run.candle_steps
            trades += len(run.trades_of)
        steps.append(of_batch)
        done += 1
        on_progress(done, units, "counting steps")
    seconds: dict[int, list[float]] = {threads: [] for threads in counts}
    for batch in batches:
        for threads in counts:
            metrics: list[Any] = []

            def score(batch: list[Strategy] = batch, threads: int = threads, into: list[Any] = metrics) -> None:
                into.extend(score_many(prepared, batch, threads=threads))

            seconds[threads].append(timed(score)())
            if threads == 1:
                pnl += sum(found.total_pnl for found in metrics)
            done += 1
            on_progress(done, units, "")
    rows = []
    for threads in counts:
        total = sum(seconds[threads])
        # Batches do different work, so they are compared per step.
        per_step = Timing(tuple(taken / of_batch for taken, of_batch in zip(seconds[threads], steps, strict=True)))
        rows.append(
            {
                "threads": threads,
                "sets": sets,
                "seconds": total,
                "spread": per_step.spread,
                "is_noisy": per_step.is_noisy,
                "trades": trades,
                "total_pnl": pnl,
                "candle_steps": sum(steps),
                "candle_steps_per_second": sum(steps) / total,
                "candles_per_second": sets * market.candle_count / total,
                "sets_per_second": sets / total,
            }
        )
    return rows


def measure_slower(
    market: BenchMarket,
    rounds: int,
    backtesting: Callable[[BenchMarket], PeerProcess] | None = None,
    on_progress: ProgressListener = no_progress,
) -> list[dict[str, Any]]:
    """Return the engine beside what runs on a share of the tokens: reference, plain Python, backtesting.py.

    Args:
        market: The whole one.
        rounds: Repetitions.
        backtesting: Starts that peer on a market; None leaves it out.
        on_progress: Told after each work.
    """
    per_token = max(1, market.candle_count // len(market.candles))
    part = market.part(max(1, SHARE_CANDLES // per_token))
    rows = []
    peer = backtesting(part) if backtesting is not None else None
    try:
        for done, name in enumerate(DOCUMENTS, start=1):
            rows += _beside_slower(part, name, rounds, peer)
            on_progress(done, len(DOCUMENTS), name)
    finally:
        if peer is not None:
            peer.close()
    return rows


def _beside_slower(part: BenchMarket, name: str, rounds: int, peer: PeerProcess | None) -> list[dict[str, Any]]:
    prepared, strategy = prepare(part), strategy_of(name)
    run = simulate(prepared, strategy)
    ours = _work_of(run)
    did: dict[str, Work] = {OURS: ours}

    def by_reference() -> None:
        trades = [
            trade for key in part.candles for trade in simulate_reference(part.candles[key], part.calls[key], strategy)
        ]
        did["reference engine"] = Work(len(trades), sum(trade.pnl for trade in trades), ours.candle_steps)

    contestants = {
        OURS: timed(lambda: simulate(prepared, strategy)),
        "reference engine": timed(by_reference),
    }
    if name in SHARED_WORKS:
        calls = listed_calls(part)

        def by_loops() -> None:
            did["plain Python"] = Work(len(calls), total_pnl_of(name, calls), ours.candle_steps)

        contestants["plain Python"] = timed(by_loops)
        if peer is not None:
            contestants["backtesting.py"] = _repetition(peer, name, "backtesting.py", did, ours.candle_steps)
    return _comparison(part, name, race(contestants, rounds), did)


def measure_vectorbt(
    market: BenchMarket, peer: PeerProcess, rounds: int, on_progress: ProgressListener = no_progress
) -> list[dict[str, Any]]:
    """Return the engine on one thread beside vectorbt on the whole market, for what both can do."""
    prepared = prepare(market)
    rows = []
    for done, name in enumerate(SHARED_WORKS, start=1):
        strategy = strategy_of(name)
        ours = _work_of(simulate(prepared, strategy))
        did = {OURS: ours}

        def once(strategy: Strategy = strategy) -> StrategyRun:
            return simulate(prepared, strategy)

        contestants = {OURS: timed(once)}
        # Its Rust engine takes no functions of the user, which a ladder needs.
        engines = ("numba", "rust") if name == STOP_AND_TARGET and peer.has_rust else ("numba",)
        for engine in engines:
            label = f"vectorbt, {engine}"
            contestants[label] = _repetition(peer, name, label, did, ours.candle_steps, engine=engine)
        rows += _comparison(market, name, race(contestants, rounds), did)
        on_progress(done, len(SHARED_WORKS), name)
    return rows


def _repetition(
    peer: PeerProcess, name: str, label: str, did: dict[str, Work], steps: int, *, engine: str = "numba"
) -> Callable[[], float]:
    def take() -> float:
        answer = peer.repeat(name, engine=engine)
        did[label] = Work(answer["trades"], answer["total_pnl"], steps)
        return float(answer["seconds"])

    return take


def _comparison(
    market: BenchMarket, name: str, timings: Mapping[str, Timing], did: Mapping[str, Work]
) -> list[dict[str, Any]]:
    """Return one row per engine; `ratio` says how many times as long as ours it took, in this race."""
    ours = did[OURS]
    return [
        {
            "work": name,
            "engine": engine,
            "tokens": len(market.candles),
            "ratio": timing.best / timings[OURS].best,
            **rates(timing, did[engine], market.candle_count),
            "has_same_trades": did[engine].trades == ours.trades,
            "pnl_difference": abs(did[engine].total_pnl - ours.total_pnl),
        }
        for engine, timing in timings.items()
    ]
