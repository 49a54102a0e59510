"""The content of the sample's candle files, with the dirt that real files have."""

import io
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.ingest.candle_files import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sample.price_paths import PricePath

CSV_HEADER = "timestamp,open,high,low,close,volume,token_address,chain,interval"
PARQUET_BAD_ROWS = 5
PARQUET_DUPLICATES = 4
CSV_BAD_ROWS = 4
CSV_DUPLICATES = 3

_VALUES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class CandleContent:
    """A candle file's bytes and what importing it must count.

    Attributes:
        content: The bytes.
        row_count: All rows, header aside.
        duplicates: Rows that repeat another one exactly.
        bad_rows: Rows that must be quarantined.
    """

    content: bytes
    row_count: int
    duplicates: int = 0
    bad_rows: int = 0


def parquet_content(
    token: TokenKey,
    interval: str,
    path: PricePath,
    timestamps: IntArray,
    bars: IntArray,
    *,
    with_bad_rows: bool = False,
    with_duplicates: bool = False,
) -> CandleContent:
    """Return the given bars of a token as a parquet file.

    Args:
        token: The token.
        interval: Its interval name.
        path: Its prices.
        timestamps: Open time of every bar of the time line, seconds.
        bars: The bars to write, ascending, at least one.
        with_bad_rows: Add `PARQUET_BAD_ROWS` rows, each of which breaks another rule.
        with_duplicates: Add `PARQUET_DUPLICATES` copies of rows at the end, out of order.
    """
    seconds: IntArray = timestamps[bars]
    values: dict[str, FloatArray] = {name: getattr(path, name)[bars] for name in _VALUES}
    if with_bad_rows:
        copies = np.arange(PARQUET_BAD_ROWS) * len(bars) // PARQUET_BAD_ROWS
        damaged = {name: values[name][copies] for name in _VALUES}
        damaged["high"][0] = damaged["low"][0] * 0.5
        damaged["close"][1] = np.nan
        damaged["low"][2] = 0.0
        damaged["volume"][3] = -1.0
        damaged_seconds = seconds[copies]
        damaged_seconds[4] += 1
        seconds = np.insert(seconds, copies, damaged_seconds)
        values = {name: np.insert(values[name], copies, damaged[name]) for name in _VALUES}
    if with_duplicates:
        # Without bad rows beside them: a copy of a bad row would be one more bad row.
        copies = np.arange(PARQUET_DUPLICATES) * len(bars) // PARQUET_DUPLICATES
        seconds = np.concatenate([seconds, seconds[copies]])
        values = {name: np.concatenate([values[name], values[name][copies]]) for name in _VALUES}
    identity = {"chain": token.chain, "token_address": token.address, "interval": interval}
    columns = [
        pa.array([identity[name]] * len(seconds), type=pa.string())
        if name in identity
        else pa.array(seconds if name == "timestamp" else values[name])
        for name in CANDLE_SCHEMA.names
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=CANDLE_SCHEMA), sink, compression="zstd")
    return CandleContent(
        content=sink.getvalue(),
        row_count=len(seconds),
        duplicates=PARQUET_DUPLICATES if with_duplicates else 0,
        bad_rows=PARQUET_BAD_ROWS if with_bad_rows else 0,
    )


def csv_content(token: TokenKey, interval: str, path: PricePath, timestamps: IntArray, bars: IntArray) -> CandleContent:
    """Return the given bars of a token as CSV: times as text, some bad rows and duplicates.

    Args:
        token: The token.
        interval: Its interval name.
        path: Its prices.
        timestamps: Open time of every bar of the time line, seconds.
        bars: The bars to write, ascending, at least one.
    """
    times = [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for second in timestamps[bars].tolist()]
    columns = [getattr(path, name)[bars].tolist() for name in _VALUES]
    tail = f"{token.address},{token.chain},{interval}"
    rows = [f"{time},{','.join(map(repr, numbers))},{tail}" for time, *numbers in zip(times, *columns, strict=True)]
    middle = len(rows) // 2
    naive_time = rows[middle].replace("Z,", ",", 1)
    negative_open = f"{times[0]},-{rows[0].split(',', 1)[1]}"
    no_close = ",".join("" if number == 4 else cell for number, cell in enumerate(rows[-1].split(",")))
    duplicates = [rows[number * len(rows) // CSV_DUPLICATES] for number in range(CSV_DUPLICATES)]
    dirty = [*rows[:middle], "#### export interrupted ####", naive_time, *rows[middle:]]
    dirty += [negative_open, no_close, *duplicates]
    return CandleContent(
        content="".join(f"{row}\n" for row in [CSV_HEADER, *dirty]).encode(),
        row_count=len(dirty),
        duplicates=CSV_DUPLICATES,
        bad_rows=CSV_BAD_ROWS,
    )
