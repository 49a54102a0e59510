"""Measure `quantbot backfill` as a user sees it: everything, nothing changed, one token-month changed.

    python benchmarks/measure_backfill.py [--tokens N] [--months N] [--calls N] [--jobs N] [--home DIR]

Seeded candles of five minutes and calls spread over them go into a new home with embedded servers (or into DIR, which
is kept, and used as it is the next time). Then the command runs as a process of its own, `--json`: on a store without
runs, again, and again after an import of other candles into one month of one token. Printed are the whole time of each
process, its processor time and memory, and the stages that it tells of, which run side by side.
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
import pyarrow as pa

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.servers.dagster_ui import stop_dagster_ui
from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallerKey, NewAlert
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.token_months import month_start, next_month

SEED = 20_250_301
FIRST_MONTH = "2024-01"
INTERVAL_SECONDS = 300

# Five of the shipped strategies, from one exit to ladders and re-entries.
STRATEGIES = (
    "aggressive-multi-tp",
    "basic-6h-20pct-sl",
    "conservative-24h",
    "laddered-dip-with-re-entry",
    "trailing-stop-20pct",
)


def main() -> int:
    """Print one line per stage of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--months", type=int, default=10)
    parser.add_argument("--calls", type=int, default=10, help="per token-month")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--home", type=Path, help="kept; a temporary folder without it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as folder:
        home = arguments.home or Path(folder)
        settings = load_settings(home=home, postgres_url=None, clickhouse_url=None)
        try:
            urls = ensure_servers(settings)
            migrate(urls.postgres, urls.clickhouse)
            with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
                months = _months(arguments.months)
                tokens = [TokenKey("binance", f"T{k:03d}_USDT") for k in range(arguments.tokens)]
                _fill(state, history, tokens, months, arguments.calls)
                shown = {"everything": _backfill(home, arguments.jobs), "again": _backfill(home, arguments.jobs)}
                history.insert_candles(_candles(tokens[0], months[len(months) // 2], seed=time.time_ns()))
                shown["one month"] = _backfill(home, arguments.jobs)
            _print(shown)
        finally:
            if arguments.home is None:
                stop_dagster_ui(settings)
                stop_servers(settings)
    return 0


def _months(count: int) -> list[str]:
    months = [FIRST_MONTH]
    while len(months) < count:
        months.append(next_month(months[-1]))
    return months


def _fill(
    state: StateStore, history: HistoryStore, tokens: Sequence[TokenKey], months: Sequence[str], calls: int
) -> None:
    """Store candles and calls, unless they are stored."""
    if len(state.load_calls()) == len(tokens) * len(months) * calls:
        return
    for k, token in enumerate(tokens):
        history.insert_candles(
            pa.concat_tables([_candles(token, month, seed=1000 * k + m) for m, month in enumerate(months)])
        )
    random = np.random.default_rng(SEED)
    alerts = []
    for token in tokens:
        for month in months:
            start = month_start(month).timestamp()
            seconds = month_start(next_month(month)).timestamp() - start
            for at in np.sort(random.random(calls)).tolist():
                alerts.append(_alert(len(alerts), token, start + int(at * seconds)))
    state.store_alerts(alerts, None)
    derive_calls(state, history)


def _candles(token: TokenKey, month: str, *, seed: int) -> pa.Table:
    random = np.random.default_rng([SEED, seed])
    start, end = (int(month_start(name).timestamp()) for name in (month, next_month(month)))
    timestamp = np.arange(start, end, INTERVAL_SECONDS, dtype=np.int64)
    n = len(timestamp)
    # Student's t with 3 degrees of freedom: single candles move by a tenth, as those of small tokens do.
    close = np.exp(np.cumsum(0.003 * random.standard_t(3, n)))
    opens = np.concatenate([[1.0], close[:-1]])
    columns = {
        "chain": pa.array([token.chain] * n),
        "token_address": pa.array([token.address] * n),
        "interval": pa.array(["5m"] * n),
        "timestamp": timestamp,
        "open": opens,
        "high": np.maximum(opens, close) * np.exp(np.abs(random.normal(0, 0.002, n))),
        "low": np.minimum(opens, close) * np.exp(-np.abs(random.normal(0, 0.002, n))),
        "close": close,
        "volume": random.lognormal(8, 1, n),
    }
    return pa.table(columns).select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA)


def _alert(number: int, token: TokenKey, second: float) -> NewAlert:
    return NewAlert(
        token=token,
        symbol=None,
        caller=CallerKey("bench", f"caller {number % 20}"),
        side=Side.BUY,
        signal_type=SignalType.ENTRY,
        confidence=None,
        alert_price=None,
        alert_market_cap=None,
        alert_timestamp=datetime.fromtimestamp(second, UTC),
        content_key=f"{number:064x}",
        raw_payload={"number": number},
    )


def _backfill(home: Path, jobs: int) -> dict[str, Any]:
    command = [Path(sys.executable).with_name("quantbot"), "backfill", "--strategies", ",".join(STRATEGIES)]
    command += ["--jobs", str(jobs), "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBOT_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - this project's own command
        command, env=environment | {"QUANTBOT_HOME": str(home)}, stdout=subprocess.PIPE, check=False
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"quantbot backfill ended with exit code {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document | {
        "process": seconds,
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory": after.ru_maxrss // 1024,
        "load": os.getloadavg()[0],
    }


def _print(runs: dict[str, dict[str, Any]]) -> None:
    stages = list(dict.fromkeys(stage for run in runs.values() for stage in run["stages"]))
    print(f"{'':28}" + "".join(f"{name:>14}" for name in runs))
    for name in ("token_months", "runs", "computed", "reused", "new_events", "candles"):
        print(f"{name:28}" + "".join(f"{run[name]:14,}" for run in runs.values()))
    for stage in stages:
        print(f"{stage:28}" + "".join(f"{run['stages'].get(stage, 0.0):12.2f} s" for run in runs.values()))
    for name in ("seconds", "process", "processor"):
        print(f"{name:28}" + "".join(f"{run[name]:12.2f} s" for run in runs.values()))
    print(f"{'memory, MB, at most so far':28}" + "".join(f"{run['memory']:14,}" for run in runs.values()))
    print(f"{'load':28}" + "".join(f"{run['load']:14.1f}" for run in runs.values()))


if __name__ == "__main__":
    sys.exit(main())
