"""Whole processes measured from outside: the first call, a cold compile, a search's memory, `quantbot simulate`."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from quantbot_pipeline.bench.markets import BenchMarket
from quantbot_pipeline.bench.timing import Timing
from quantbot_pipeline.bench.works import LADDER, document_of
from quantbot_pipeline.errors import SimulationError

_QUANTBOT = "from quantbot_pipeline.cli.main import main; main()"


def measure_first_call(rounds: int) -> dict[str, Any]:
    """Return the quickest first simulation of some fresh processes, with compiled kernels from the cache."""
    # The first of them fills the cache where it is empty.
    found = [_answer_of("quantbot_pipeline.bench.first_call") for _ in range(rounds + 1)][1:]
    calls = Timing(tuple(each["first_call_seconds"] for each in found))
    return {
        "first_call_seconds": calls.best,
        "import_seconds": min(each["import_seconds"] for each in found),
        "spread": calls.spread,
        "is_noisy": calls.is_noisy,
    }


def measure_cold_compile() -> dict[str, Any]:
    """Return how long the first simulation takes when numba has to compile everything."""
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as cache:
        return _answer_of("quantbot_pipeline.bench.first_call", NUMBA_CACHE_DIR=cache)


def measure_search_memory(tokens: int, candles: int, calls: int, sets: int) -> list[dict[str, Any]]:
    """Return the peak memory of a process that searches a tenth of the sets, and all of them."""
    return [
        _answer_of("quantbot_pipeline.bench.search_memory", str(tokens), str(candles), str(calls), str(count))
        for count in (max(1, sets // 10), sets)
    ]


def measure_simulate_command(market: BenchMarket, rounds: int) -> dict[str, Any]:
    """Return how long `quantbot simulate` takes as a process, from candle and call files to event and summary files.

    Args:
        market: With the files that its candles come from.
        rounds: Repetitions.

    Raises:
        SimulationError: the command failed.
    """
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as text:
        folder = Path(text)
        with (folder / "calls.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("call_id", "token_address", "chain", "signal_timestamp"))
            for key, calls in market.calls.items():
                writer.writerows((call.call_id, key.address, key.chain, call.signal_timestamp) for call in calls)
        (folder / "ladder.json").write_text(json.dumps(document_of(LADDER)), encoding="utf-8")
        command = [sys.executable, "-c", _QUANTBOT, "simulate"]
        for path in market.files:
            command += ["--candles", str(path)]
        command += ["--calls", str(folder / "calls.csv"), "--strategy", str(folder / "ladder.json")]
        command += ["--events-out", str(folder / "events.parquet"), "--summary-out", str(folder / "summary.json")]
        seconds = []
        for _ in range(rounds + 1):
            begin = time.perf_counter()
            _run(command, {})
            seconds.append(time.perf_counter() - begin)
        overall = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["strategies"][0]["overall"]
    timing = Timing(tuple(seconds[1:]))
    return {
        "work": LADDER,
        "files": len(market.files),
        "candles": market.candle_count,
        "calls": market.call_count,
        "trades": overall["trade_count"] + overall["skipped_count"],
        "total_pnl": overall["total_pnl"],
        "seconds": timing.best,
        "repetitions": rounds,
        "spread": timing.spread,
        "is_noisy": timing.is_noisy,
    }


def _answer_of(module: str, *arguments: str, **environment: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_run([sys.executable, "-m", module, *arguments], environment))
    return answer


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - the project's own commands
        command, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise SimulationError(
            f"the measured process {' '.join(command[1:4])!r} ended with code {done.returncode}: "
            f"{said[-1] if said else 'no message'}"
        )
    return done.stdout
