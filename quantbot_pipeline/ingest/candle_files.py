"""Candle files in, checked candles out, whole files at a time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from quantbot_pipeline.ingest.candle_streams import CANDLE_FILE_KINDS, iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA, CandleConflict, merged
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.source_files import file_sha256

__all__ = ["CANDLE_FILE_KINDS", "CANDLE_SCHEMA", "CandleFile", "read_candle_file"]


@dataclass(frozen=True)
class CandleFile:
    """What one candle file held.

    `rows_read == candles.num_rows + duplicates + conflicts + len(quarantined)` always holds.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes.
        rows_read: Rows in the file, the header and blank lines aside.
        candles: Good candles of `FLAGGED_CANDLE_SCHEMA`, one per (chain, token_address, interval, timestamp),
            sorted by these.
        duplicates: Rows that repeat a stored candle of this file exactly.
        conflicts: Rows whose key came again later in the file with other values; the last row won.
        quarantined: Rows that can't be used, in file order.
        conflict_examples: The first of the conflicts.
        notes: What a person should know about how the file was read.
    """

    path: Path
    sha256: str
    rows_read: int
    candles: pa.Table
    duplicates: int
    conflicts: int
    quarantined: tuple[QuarantinedRow, ...]
    conflict_examples: tuple[CandleConflict, ...] = ()
    notes: tuple[str, ...] = ()


def read_candle_file(
    path: Path,
    *,
    chain: str | None = None,
    token: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
    now: datetime | None = None,
    wick_limit: float | None = None,
) -> CandleFile:
    """Read one candle file and check every row against the rules of a valid candle.

    All good candles are held in memory; `iterate_candles` reads files of any size.

    Args:
        path: One of `CANDLE_FILE_KINDS`, text also with `.gz`.
        chain: See `CandleReadOptions`, as for the others.
        token: Likewise.
        interval: Likewise.
        timezone: Likewise.
        now: Likewise.
        wick_limit: Likewise.

    Raises:
        DataError: as for `iterate_candles`.
    """
    options = CandleReadOptions(
        chain=chain, token=token, interval=interval, timezone=timezone, now=now, wick_limit=wick_limit
    )
    pieces = list(iterate_candles(path, options=options))
    whole = merged(pieces)
    return CandleFile(
        path=path,
        sha256=file_sha256(path),
        rows_read=whole.rows_read,
        candles=whole.candles,
        duplicates=whole.duplicates,
        conflicts=whole.conflicts,
        quarantined=whole.quarantined,
        conflict_examples=whole.conflict_examples,
        notes=whole.notes,
    )
