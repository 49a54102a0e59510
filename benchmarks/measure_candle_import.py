"""Measure the import of candle files beside ClickHouse's own `insert … select from file()` of the same rows.

    python benchmarks/measure_candle_import.py [--candles N] [--tokens N] [--repeats N] [--kinds parquet,csv]

Seeded candles of some tokens, sorted by token, are written as parquet and as CSV. Servers start in a temporary home.
Both ways store into `ohlcv_candles`, emptied before each; the import includes the fingerprint of the file, reading,
every check, comparing with what is stored, and the records in Postgres. The quickest of the repeats counts, the two
ways in turn, so that the machine's other work slows both.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.import_candles import import_candle_files

SEED = 20250301
FIRST_SECOND = 1_735_689_600
"""2025-01-01 00:00:00 UTC."""

FORMATS = {"parquet": "Parquet", "csv": "CSVWithNames"}
ROWS_PER_PIECE = 1_000_000

_SCHEMA = pa.schema(
    [
        ("token_address", pa.string()),
        ("chain", pa.string()),
        ("timestamp", pa.int64()),
        ("interval", pa.string()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("volume", pa.float64()),
    ]
)


def main() -> int:
    """Print one line per kind of file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--candles", type=int, default=5_000_000)
    parser.add_argument("--tokens", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", default="parquet,csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as folder:
        home = Path(folder)
        settings = load_settings(home=home, postgres_url=None, clickhouse_url=None)
        urls = ensure_servers(settings)
        try:
            migrate(urls.postgres, urls.clickhouse)
            print(
                f"{'kind':8}{'candles':>12}{'ClickHouse':>12}{'import':>10}{'share':>8}{'again':>8}{'memory':>9}  load"
            )
            for kind in arguments.kinds.split(","):
                path = home / f"candles.{kind}"
                count = write_candles(path, arguments.candles, arguments.tokens)
                _measure(path, kind, count, urls, arguments.repeats)
        finally:
            stop_servers(settings)
    return 0


def write_candles(path: Path, candle_count: int, token_count: int) -> int:
    """Write candles of one minute, sorted by token and time, and return how many."""
    random = np.random.default_rng(SEED)
    per_token = candle_count // token_count
    writer: pq.ParquetWriter | pa_csv.CSVWriter
    writer = pq.ParquetWriter(path, _SCHEMA) if path.suffix == ".parquet" else pa_csv.CSVWriter(path, _SCHEMA)
    with writer:
        for token in range(token_count):
            for first in range(0, per_token, ROWS_PER_PIECE):
                writer.write_table(
                    _candles(f"T{token:03d}_USDT", first, min(ROWS_PER_PIECE, per_token - first), random)
                )
    return per_token * token_count


def _candles(token: str, first: int, count: int, random: np.random.Generator) -> pa.Table:
    walk = np.cumsum(random.standard_normal(count) * 1e-3)
    close = np.round(np.exp(walk), 6)
    opens = np.concatenate([[1.0], close[:-1]])
    columns = [
        [token] * count,
        ["binance"] * count,
        FIRST_SECOND + 60 * (first + np.arange(count)),
        ["1m"] * count,
        opens,
        np.round(np.maximum(opens, close) * (1 + 1e-3 * random.random(count)), 6),
        np.round(np.minimum(opens, close) * (1 - 1e-3 * random.random(count)), 6),
        close,
        np.round(np.exp(5 + 2 * random.standard_normal(count)), 2),
    ]
    columns[5] = np.maximum(columns[5], np.maximum(opens, close))
    columns[6] = np.minimum(columns[6], np.minimum(opens, close))
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def _measure(path: Path, kind: str, count: int, urls: ServerUrls, repeats: int) -> None:
    with (
        PostgresStore(urls.postgres) as state,
        ClickHouseStore(urls.clickhouse) as history,
        closing(clickhouse_connect.get_client(dsn=urls.clickhouse, send_receive_timeout=3600)) as client,
    ):
        columns = ", ".join(_SCHEMA.names)

        def by_clickhouse() -> None:
            client.command(
                f"insert into ohlcv_candles ({columns}) "  # noqa: S608 - own names
                f"select {columns} from file('{path}', {FORMATS[kind]})"
            )

        def by_import() -> None:
            sources = check_candle_files([path], state, first_month="2009-01")
            import_candle_files([path], state, history, sources=sources)

        quickest = [float("inf")] * 2
        for _ in range(repeats):
            for way, store in enumerate((by_clickhouse, by_import)):
                client.command("truncate table ohlcv_candles")
                with psycopg.connect(urls.postgres, autocommit=True) as postgres:
                    postgres.execute("truncate imports, quarantine cascade")
                quickest[way] = min(quickest[way], _seconds(store))
                stored = client.query("select count() from ohlcv_candles").first_row[0]
                if stored != count:
                    raise SystemExit(f"{kind}: {stored} candles are stored, {count} were written")
        again = _seconds(by_import)
    own, imported = quickest
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{kind:8}{count:12,}{own:10.2f} s{imported:8.2f} s{own / imported:7.0%}{again:6.2f} s{memory:6.0f} MB"
        f"  {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
