"""Measure `quantbot features build`: all calls, again, and after one token's candles changed.

    python benchmarks/measure_features.py
    python benchmarks/measure_features.py --tokens 50 --days 10 --calls 2000

Fills a temporary home with seeded candles of five minutes (a twentieth of them missing), and calls by 200 callers at
random times; without `--no-trades`, one preset is simulated on all calls before, so that callers have records. Prints
seconds on the clock, processor time and peak memory of the command, and ClickHouse's processor time beside.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import CallerKey, NewAlert
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.store_strategies import store_strategies

SEED = 5
STRATEGY = "conservative-24h"
FIRST_SECOND = 1_735_689_600  # 2025-01-01T00:00Z
INTERVAL_SECONDS = 300
CALLERS = 200
TOKENS_PER_INSERT = 25


def main() -> int:
    """Print one column per build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=90, help="of candles per token")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="kept; a temporary folder without it")
    parser.add_argument("--no-trades", action="store_true", help="simulate nothing before")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as folder:
        home = arguments.home or Path(folder)
        settings = load_settings(home=home, postgres_url=None, clickhouse_url=None)
        try:
            urls = ensure_servers(settings)
            migrate(urls.postgres, urls.clickhouse)
            tokens = [TokenKey("binance", f"T{k:04d}_USDT") for k in range(arguments.tokens)]
            with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
                if not state.load_strategies():
                    began = time.perf_counter()
                    candle_count = _fill_candles(history, tokens, arguments.days)
                    state.store_alerts(_alerts(tokens, arguments.days, arguments.calls), None)
                    derive_calls(state, history)
                    print(f"stored {candle_count:,} candles and {arguments.calls:,} calls, {_since(began)}", flush=True)
                    store_strategies(state)
                if not arguments.no_trades:
                    began = time.perf_counter()
                    _run(home, ["backfill", "--strategies", STRATEGY])
                    print(f"simulated, {_since(began)}", flush=True)
                runs = {"everything": _build(home), "again": _build(home)}
                history.insert_candles(_candles(tokens[:1], arguments.days, seed=time.time_ns()))
                runs["one token"] = _build(home)
            for name in ("calls", "built", "known_trades"):
                print(f"{name:28}" + "".join(f"{run[name]:14,}" for run in runs.values()))
            for name in ("seconds", "processor", "ClickHouse"):
                print(f"{name:28}" + "".join(f"{run[name]:12.2f} s" for run in runs.values()))
            print(f"{'memory, MB, at most so far':28}" + "".join(f"{run['memory']:14,}" for run in runs.values()))
            print(f"{'load':28}" + "".join(f"{run['load']:14.1f}" for run in runs.values()))
        finally:
            if arguments.home is None:
                stop_servers(settings)
    return 0


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.0f} s"


def _fill_candles(history: ClickHouseStore, tokens: Sequence[TokenKey], days: int) -> int:
    count = 0
    for first in range(0, len(tokens), TOKENS_PER_INSERT):
        rows = _candles(tokens[first : first + TOKENS_PER_INSERT], days, seed=first)
        history.insert_candles(rows)
        count += rows.num_rows
    return count


def _candles(tokens: Sequence[TokenKey], days: int, *, seed: int) -> pa.Table:
    parts = []
    for place, token in enumerate(tokens):
        random = np.random.default_rng([SEED, seed, place])
        timestamp = FIRST_SECOND + np.arange(days * 288, dtype=np.int64) * INTERVAL_SECONDS
        timestamp = timestamp[random.random(len(timestamp)) < 0.95]
        n = len(timestamp)
        close = np.exp(np.cumsum(0.003 * random.standard_t(3, n)))
        opens = np.concatenate([[1.0], close[:-1]])
        columns = {
            "chain": pa.array([token.chain] * n),
            "token_address": pa.array([token.address] * n),
            "interval": pa.array(["5m"] * n),
            "timestamp": timestamp,
            "open": opens,
            "high": np.maximum(opens, close) * 1.001,
            "low": np.minimum(opens, close) * 0.999,
            "close": close,
            "volume": random.lognormal(8, 1, n),
        }
        parts.append(pa.table(columns).select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA))
    return pa.concat_tables(parts)


def _alerts(tokens: Sequence[TokenKey], days: int, count: int) -> list[NewAlert]:
    random = np.random.default_rng(SEED)
    seconds = FIRST_SECOND + np.sort(random.integers(86_400, (days - 1) * 86_400, count))
    return [
        NewAlert(
            token=tokens[int(random.integers(len(tokens)))],
            symbol=None,
            caller=CallerKey("bench", f"caller {int(random.integers(CALLERS))}"),
            side=Side.BUY,
            signal_type=SignalType.ENTRY,
            confidence=None,
            alert_price=1.0,
            alert_market_cap=1e6,
            alert_timestamp=datetime.fromtimestamp(int(second), UTC),
            content_key=f"{number:064x}",
            raw_payload={"number": number},
        )
        for number, second in enumerate(seconds)
    ]


def _build(home: Path) -> dict[str, Any]:
    servers = _server_seconds(home)
    began = time.perf_counter()
    output, usage = _run(home, ["features", "build", "--strategy", STRATEGY, "--json"])
    document: dict[str, Any] = json.loads(output)
    return document | {
        "seconds": time.perf_counter() - began,
        "processor": usage.ru_utime + usage.ru_stime,
        "ClickHouse": _server_seconds(home) - servers,
        "memory": usage.ru_maxrss // 1024,
        "load": os.getloadavg()[0],
    }


def _server_seconds(home: Path) -> float:
    """Return the processor time that the home's ClickHouse has used."""
    total = 0.0
    for process in psutil.process_iter(["cmdline", "cpu_times"]):
        command = " ".join(process.info["cmdline"] or ())
        if "clickhouse_owner" in command and str(home) in command:
            total += process.info["cpu_times"].user + process.info["cpu_times"].system
    return total


def _run(home: Path, arguments: Sequence[str]) -> tuple[bytes, resource.struct_rusage]:
    """Run a command and return its output and what it used."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBOT_")}
    command = [Path(sys.executable).with_name("quantbot"), *arguments]
    process = subprocess.Popen(  # noqa: S603 - this project's own command
        command, env=environment | {"QUANTBOT_HOME": str(home)}, stdout=subprocess.PIPE
    )
    output = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"quantbot {arguments[0]} ended with exit code {process.returncode}")
    return output, usage


if __name__ == "__main__":
    sys.exit(main())
