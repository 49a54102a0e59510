"""Measure how ClickHouse stores candles: bytes per candle and time per range read, by codec.

    python benchmarks/measure_candle_storage.py FOLDER_OF_PARQUET_FILES

Each variant is a table of its own with the key and partitions of `ohlcv_candles`, filled with all candle files
of the folder and merged completely, with one file per column, because ClickHouse counts the bytes of columns
only there. Servers start in a temporary home. Reads are one token and one month over HTTP, as Arrow.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect
import pyarrow as pa

from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.settings import load_settings

RANGES = 50
REPEATS = 4
"""The quickest of these counts: the machine's other work only ever slows a read."""


@dataclass(frozen=True)
class Variant:
    """Codecs of one table."""

    time: str
    price: str
    volume: str
    address: str = "LowCardinality(String)"


COLUMNS = ("B/candle", "time", "price", "volume", "ms/read")

VARIANTS = (
    Variant("LZ4", "LZ4", "LZ4"),
    Variant("ZSTD(1)", "ZSTD(1)", "ZSTD(1)"),
    Variant("Delta, ZSTD(1)", "ZSTD(1)", "ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "ZSTD(1)", "ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "Gorilla, ZSTD(1)", "Gorilla, ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "FPC, ZSTD(1)", "FPC, ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "ALP, ZSTD(1)", "ALP, ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "Delta, ZSTD(1)", "Delta, ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "DoubleDelta, ZSTD(1)", "ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "Delta, LZ4", "LZ4"),
    Variant("DoubleDelta, ZSTD(1)", "Delta, ZSTD(1)", "ZSTD(1)", "String"),
    Variant("DoubleDelta, ZSTD(1)", "Delta, ZSTD(1)", "ZSTD(1)"),
    Variant("DoubleDelta, ZSTD(1)", "Delta, ZSTD(3)", "ZSTD(3)"),
)

_CREATE = """
create table {table}
(
    chain LowCardinality(String),
    token_address {address},
    interval LowCardinality(String),
    timestamp DateTime('UTC') codec({time}),
    open Float64 codec({price}),
    high Float64 codec({price}),
    low Float64 codec({price}),
    close Float64 codec({price}),
    volume Float64 codec({volume}),
    imported_at DateTime64(6, 'UTC') default now64(6) codec(Delta, ZSTD(1))
)
engine = ReplacingMergeTree(imported_at)
partition by (chain, toYYYYMM(timestamp))
order by (chain, token_address, interval, timestamp)
settings min_bytes_for_wide_part = 0
"""

_SIZES = """
select
    sumIf(column_data_compressed_bytes, column = 'timestamp') as time_bytes,
    sumIf(column_data_compressed_bytes, column in ('open', 'high', 'low', 'close')) as price_bytes,
    sumIf(column_data_compressed_bytes, column = 'volume') as volume_bytes,
    sum(column_data_compressed_bytes) as all_bytes
from system.parts_columns
where database = currentDatabase() and table = {table:String} and active
"""

_READ = """
select timestamp, open, high, low, close, volume
from {table:Identifier} final
where
    chain = {chain:String} and token_address = {token_address:String} and interval = {interval:String}
    and timestamp >= toDateTime({start_s:UInt32}, 'UTC') and timestamp < toDateTime({end_s:UInt32}, 'UTC')
order by timestamp
settings do_not_merge_across_partitions_select_final = 1
"""


def main() -> int:
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of candle parquet files")
    folder: Path = parser.parse_args().folder
    candles = pa.concat_tables([read_candle_file(path).candles for path in sorted(folder.glob("*.parquet"))])
    with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as home:
        settings = load_settings(home=Path(home), postgres_url=None, clickhouse_url=None)
        client = clickhouse_connect.get_client(dsn=ensure_servers(settings).clickhouse)
        try:
            print(f"{candles.num_rows} candles, ClickHouse {client.server_version}")
            _print_line("time codec", "price codec", "volume codec", "address", *COLUMNS)
            for number, variant in enumerate(VARIANTS):
                _measure(client, f"variant_{number}", variant, candles)
        finally:
            client.close()
            stop_servers(settings)
    return 0


def _measure(client: clickhouse_connect.driver.client.Client, table: str, variant: Variant, candles: pa.Table) -> None:
    client.command(
        _CREATE.format(
            table=table, address=variant.address, time=variant.time, price=variant.price, volume=variant.volume
        ),
        settings={"allow_suspicious_codecs": 1, "allow_experimental_codecs": 1, "enable_alp_codec": 1},
    )
    client.insert_arrow(table, candles, settings={"max_partitions_per_insert_block": 0})
    client.command(f"optimize table {table} final")
    sizes = client.query(_SIZES, parameters={"table": table}).first_row
    per_candle = [size / candles.num_rows for size in sizes]
    ranges = client.query(
        f"select chain, token_address, interval, toStartOfMonth(timestamp) as month, "  # noqa: S608 - own name
        f"toUInt32(toDateTime(month, 'UTC')), toUInt32(toDateTime(month + interval 1 month, 'UTC')) "
        f"from {table} group by all order by cityHash64(token_address, month) limit {RANGES}"
    ).result_rows
    milliseconds = []
    for chain, address, interval, _, start_s, end_s in ranges:
        parameters = {
            "table": table,
            "chain": chain,
            "token_address": address,
            "interval": interval,
            "start_s": start_s,
            "end_s": end_s,
        }
        quickest = float("inf")
        for _ in range(REPEATS):
            began = time.perf_counter()
            client.query_arrow(_READ, parameters=parameters)
            quickest = min(quickest, time.perf_counter() - began)
        milliseconds.append(quickest * 1000)
    time_bytes, price_bytes, volume_bytes, all_bytes = per_candle
    _print_line(
        variant.time,
        variant.price,
        variant.volume,
        variant.address,
        f"{all_bytes:.2f}",
        f"{time_bytes:.3f}",
        f"{price_bytes:.2f}",
        f"{volume_bytes:.2f}",
        f"{statistics.median(milliseconds):.1f}",
    )


def _print_line(*cells: str) -> None:
    widths = (22, 22, 18, 24)
    text = "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
    print(text + "".join(cell.rjust(9) for cell in cells[len(widths) :]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
