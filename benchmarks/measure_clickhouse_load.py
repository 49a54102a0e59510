"""Measure the embedded ClickHouse under clients that insert and read at once: latencies, errors, lost rows, memory.

    python benchmarks/measure_clickhouse_load.py --seconds 120 --clients 16
    python benchmarks/measure_clickhouse_load.py --seconds 5 --json

Starts an owner of its own in a temporary home. Clients are threads of several processes, as runs and the UI are; each
draws what to do from a seeded generator: insert a token-month of 5-minute candles (8 928 rows), insert the events and
aggregates of 64 runs (3 200 and 64 rows), insert one of these again, read one token's month, read twenty tokens'
months at once, read 64 runs' events, scan the coverage of all candles. What a client has inserted it reads again at
once, and at the end every row is counted. Exits with 1 when an answer was an error or a row is lost or double.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.servers.embedded import embedded_clickhouse
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import AGGREGATE_SCHEMA, EVENT_SCHEMA, ClickHouseStore
from quantbot_pipeline.storage.migrations import create_history

CHAIN = "load-test"
MONTH_START = 1_735_689_600  # 2025-01-01T00:00Z
STEP_SECONDS = 300
CANDLES = 31 * 288
RUNS_PER_INSERT = 64
EVENTS_PER_RUN = 50
TOKENS_AT_START = 20
_SAMPLE_SECONDS = 0.2

KINDS = {
    "insert a token-month": 3,
    "insert 64 runs": 4,
    "insert again": 2,
    "read a token-month": 8,
    "read 20 token-months": 2,
    "read 64 runs": 5,
    "scan the coverage": 1,
}
"""What clients do, and how often in 25."""


@dataclass
class ClientReport:
    """What one client saw.

    Attributes:
        seconds: Latencies by kind.
        errors: Messages.
        tokens: Names of tokens whose candles were acknowledged.
        first_runs: First ids of the 64 runs whose rows were acknowledged.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    first_runs: list[int] = field(default_factory=list)


@cache
def _prices() -> pa.Table:
    generator = np.random.default_rng(1)
    close = np.exp(np.cumsum(generator.normal(0, 0.002, CANDLES)))
    return pa.table(
        {
            "timestamp": MONTH_START + STEP_SECONDS * np.arange(CANDLES),
            "open": close,
            "high": close * 1.01,
            "low": close * 0.99,
            "close": close,
            "volume": generator.exponential(1000.0, CANDLES),
        }
    )


def candles_of(token: str) -> pa.Table:
    """Return a month of candles."""
    rows = _prices()
    for name, text in (("interval", "5m"), ("token_address", token), ("chain", CHAIN)):
        rows = rows.add_column(0, name, pa.array([text]).take(pa.array(np.zeros(CANDLES, np.int64))))
    return rows


def events_of(first_run: int) -> pa.Table:
    """Return the events of 64 runs."""
    run_ids = np.repeat(np.arange(first_run, first_run + RUNS_PER_INSERT), EVENTS_PER_RUN)
    return _events().set_column(0, EVENT_SCHEMA[0], pa.array(run_ids, EVENT_SCHEMA[0].type))


@cache
def _events() -> pa.Table:
    count = RUNS_PER_INSERT * EVENTS_PER_RUN
    values: dict[str, Any] = {
        "simulation_run_id": np.zeros(count, np.int64),
        "call_id": np.tile(np.repeat(np.arange(EVENTS_PER_RUN // 5), 5), RUNS_PER_INSERT),
        "seq": np.tile(np.arange(5), count // 5).astype(np.int32),
        "event_time": np.full(count, MONTH_START),
    }
    columns = []
    for wanted in EVENT_SCHEMA:
        if wanted.name in values:
            columns.append(pa.array(values[wanted.name], wanted.type))
        elif pa.types.is_string(wanted.type):
            text = {"chain": CHAIN, "event_type": "target_hit"}.get(wanted.name, '{"reason":"target","multiple":1.1}')
            columns.append(pa.array([text] * count, wanted.type))
        else:
            columns.append(pa.array(np.linspace(0.0, 1.0, count), wanted.type))
    return pa.Table.from_arrays(columns, schema=EVENT_SCHEMA)


def aggregates_of(first_run: int) -> pa.Table:
    """Return one row for each of 64 runs."""
    columns = []
    for wanted in AGGREGATE_SCHEMA:
        if wanted.name == "simulation_run_id":
            columns.append(pa.array(np.arange(first_run, first_run + RUNS_PER_INSERT), wanted.type))
        elif pa.types.is_string(wanted.type):
            columns.append(pa.array([CHAIN] * RUNS_PER_INSERT, wanted.type))
        else:
            columns.append(pa.array(np.ones(RUNS_PER_INSERT), wanted.type))
    return pa.Table.from_arrays(columns, schema=AGGREGATE_SCHEMA)


class Client:
    """One client, until a time."""

    def __init__(self, store: ClickHouseStore, number: int) -> None:
        self._store = store
        self._number = number
        self._random = random.Random(number)  # noqa: S311 - a choice of work, no secret
        self.report = ClientReport(seconds={kind: [] for kind in KINDS})
        self._actions: dict[str, Callable[[], None]] = {
            "insert a token-month": self._insert_candles,
            "insert 64 runs": self._insert_runs,
            "insert again": self._insert_again,
            "read a token-month": self._read_token,
            "read 20 token-months": self._read_tokens,
            "read 64 runs": self._read_runs,
            "scan the coverage": self._scan,
        }

    def work(self, until: float) -> ClientReport:
        """Do one thing after the other; what fails is written down, and work goes on."""
        kinds, weights = list(KINDS), list(KINDS.values())
        while time.time() < until:
            [kind] = self._random.choices(kinds, weights)
            if not self.report.first_runs and kind in ("insert again", "read 64 runs"):
                kind = "insert 64 runs"
            try:
                self._actions[kind]()
            except Exception as error:  # noqa: BLE001 - every failure is what is counted here
                self.report.errors.append(f"{kind}: {type(error).__name__}: {error}")
        return self.report

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        """Count the time of asking alone, without that of making rows."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.report.seconds[kind].append(time.perf_counter() - started)

    def _insert_candles(self) -> None:
        token = f"token-{self._number}-{len(self.report.tokens)}"
        rows = candles_of(token)
        with self._timed("insert a token-month"):
            self._store.insert_candles(rows)
        self.report.tokens.append(token)

    def _insert_runs(self) -> None:
        first_run = 1 + (self._number * 100_000 + len(self.report.first_runs)) * RUNS_PER_INSERT
        events, aggregates = events_of(first_run), aggregates_of(first_run)
        with self._timed("insert 64 runs"):
            self._store.insert_events(events)
            self._store.insert_aggregates(aggregates)
        self.report.first_runs.append(first_run)

    def _insert_again(self) -> None:
        rows = events_of(self._random.choice(self.report.first_runs))
        with self._timed("insert again"):
            self._store.insert_events(rows)

    def _read_token(self) -> None:
        names = self.report.tokens or [f"start-{self._random.randrange(TOKENS_AT_START)}"]
        self._read("read a token-month", [self._random.choice(names)])

    def _read_tokens(self) -> None:
        self._read("read 20 token-months", [f"start-{k}" for k in range(TOKENS_AT_START)])

    def _read(self, kind: str, names: list[str]) -> None:
        window = (MONTH_START, MONTH_START + CANDLES * STEP_SECONDS)
        with self._timed(kind):
            loaded = self._store.load_candles({TokenKey(CHAIN, name): window for name in names}, interval="5m")
        for name in names:
            found = len(loaded[TokenKey(CHAIN, name)]) if TokenKey(CHAIN, name) in loaded else 0
            if found != CANDLES:
                raise AssertionError(f"{name} has {found} candles, {CANDLES} were acknowledged")

    def _read_runs(self) -> None:
        first_run = self._random.choice(self.report.first_runs)
        with self._timed("read 64 runs"):
            found = self._store.load_events(range(first_run, first_run + RUNS_PER_INSERT)).num_rows
        if found != RUNS_PER_INSERT * EVENTS_PER_RUN:
            raise AssertionError(f"64 runs have {found} events, {RUNS_PER_INSERT * EVENTS_PER_RUN} were acknowledged")

    def _scan(self) -> None:
        with self._timed("scan the coverage"):
            found = self._store.load_coverage().num_rows
        if found < TOKENS_AT_START:
            raise AssertionError("the coverage lacks tokens")


def work_in_process(url: str, numbers: list[int], until: float) -> list[ClientReport]:
    """Run some clients as threads of this process; each has a connection of its own."""
    with ThreadPoolExecutor(len(numbers)) as pool:

        def work(number: int) -> ClientReport:
            with ClickHouseStore(url) as store:
                return Client(store, number).work(until)

        return list(pool.map(work, numbers))


def measure(home: Path, *, seconds: float, clients: int, processes: int) -> dict[str, Any]:
    """Start an owner in a folder, put load on it, and return what was seen."""
    server = embedded_clickhouse(load_settings(home=home, postgres_url=None, clickhouse_url=None))
    server.start(60.0)
    url, state = server.url(), server.state()
    if url is None or state is None:
        raise SystemExit("the owner ended right after its start")
    create_history(url, newest=10_000)
    owner = psutil.Process(state.process.pid)
    memory = [owner.memory_info().rss]
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLE_SECONDS):
            memory.append(owner.memory_info().rss)

    sampling = threading.Thread(target=sample, daemon=True)
    try:
        with ClickHouseStore(url) as store:
            for k in range(TOKENS_AT_START):
                store.insert_candles(candles_of(f"start-{k}"))
            sampling.start()
            groups = [list(range(first, clients, processes)) for first in range(processes)]
            context = multiprocessing.get_context("spawn")
            with context.Pool(processes) as pool:
                pool.map(abs, range(processes), chunksize=1)  # all have started
                pool.starmap(_load_code, [()] * processes, chunksize=1)
                until = time.time() + seconds
                answers = pool.starmap(work_in_process, [(url, group, until) for group in groups], chunksize=1)
            reports = [report for answer in answers for report in answer]
            is_over.set()
            sampling.join()
            result = _result(reports, store)
    finally:
        is_over.set()
        server.stop()
    return result | {
        "clients": clients,
        "processes": processes,
        "seconds": seconds,
        "owner_peak_mb": round(max(memory) / 1e6),
        "load_average": [round(value, 1) for value in os.getloadavg()],
    }


def _load_code() -> None:
    """Nothing: a process that runs this has imported what clients need."""


def _result(reports: list[ClientReport], store: ClickHouseStore) -> dict[str, Any]:
    tokens = [token for report in reports for token in report.tokens]
    stored = {row["token_address"]: row["candle_count"] for row in store.load_coverage().to_pylist()}
    wrong = [token for token in tokens if stored.get(token) != CANDLES]
    first_runs = [first for report in reports for first in report.first_runs]
    for first in first_runs:
        run_ids = range(first, first + RUNS_PER_INSERT)
        if store.load_events(run_ids).num_rows != RUNS_PER_INSERT * EVENTS_PER_RUN:
            wrong.append(f"events of runs {first} to {run_ids[-1]}")
        if store.load_aggregates(run_ids).num_rows != RUNS_PER_INSERT:
            wrong.append(f"aggregates of runs {first} to {run_ids[-1]}")
    kinds = {}
    for kind in KINDS:
        taken = np.array([second for report in reports for second in report.seconds[kind]]) * 1e3
        if len(taken):
            p50, p95, p99 = np.percentile(taken, [50, 95, 99])
            kinds[kind] = {
                "count": len(taken),
                "p50_ms": round(p50, 1),
                "p95_ms": round(p95, 1),
                "p99_ms": round(p99, 1),
                "max_ms": round(taken.max(), 1),
            }
    return {
        "kinds": kinds,
        "errors": [error for report in reports for error in report.errors],
        "lost_or_double": wrong,
        "candles_inserted": len(tokens) * CANDLES,
        "events_inserted": len(first_runs) * RUNS_PER_INSERT * EVENTS_PER_RUN,
    }


def main() -> int:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--processes", type=int, default=4, help="that the clients are threads of")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantbot-load-") as folder:
        result = measure(
            Path(folder) / "home",
            seconds=arguments.seconds,
            clients=arguments.clients,
            processes=arguments.processes,
        )
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for kind, values in result["kinds"].items():
            print(f"{kind:<22}", *(f"{name} {value:>8,}" for name, value in values.items()))
        for name in ("candles_inserted", "events_inserted", "owner_peak_mb", "load_average"):
            print(f"{name}: {result[name]}")
        for name in ("errors", "lost_or_double"):
            print(f"{name}: {len(result[name])}", *result[name][:5], sep="\n  ")
    return 1 if result["errors"] or result["lost_or_double"] else 0


if __name__ == "__main__":
    sys.exit(main())
