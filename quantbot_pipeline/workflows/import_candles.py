"""Candle files in: parse, leave out what is stored already, insert, count.

A file is taken whole: either all of its good rows are stored and its bad rows quarantined, or it stays
begun and the next attempt finishes it with the same counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import file_digest
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.errors import IntegrityError
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import ImportRecord
from quantbot_pipeline.workflows.find_files import CANDLE_SUFFIXES as CANDLE_SUFFIXES
from quantbot_pipeline.workflows.find_files import expand_files as expand_files
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.token_months import TokenMonth

_VALUES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class CandleImportOptions:
    """What a file's columns do not say.

    Attributes:
        chain: Chain of all rows, for files without the column.
        token: Token address of all rows, for files without the column.
        interval: Interval of all rows, for files without the column.
        timezone: IANA zone of naive timestamps.
    """

    chain: str | None = None
    token: str | None = None
    interval: str | None = None
    timezone: str | None = None

    @property
    def key(self) -> str:
        """Text that is equal for options that read a file alike."""
        return "|".join(value or "" for value in (self.chain, self.token, self.interval, self.timezone))


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one file.

    Attributes:
        record: The import's counts, those of its first import.
        is_known: Whether the file was imported before and nothing was done now.
    """

    record: ImportRecord
    is_known: bool


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def token_months_of(candles: pa.Table) -> set[TokenMonth]:
    """Return the token-months that rows of CANDLE_SCHEMA touch."""
    month = pc.strftime(pc.cast(candles["timestamp"], pa.timestamp("s", tz="UTC")), format="%Y-%m")
    keys = candles.select(["chain", "token_address"]).append_column("month", month)
    distinct = keys.group_by(["chain", "token_address", "month"]).aggregate([])
    return {TokenMonth(TokenKey(row["chain"], row["token_address"]), row["month"]) for row in distinct.to_pylist()}


def import_candle_files(
    paths: Sequence[Path],
    state: StateStore,
    history: HistoryStore,
    *,
    options: CandleImportOptions | None = None,
    on_progress: ProgressListener = no_progress,
) -> list[ImportOutcome]:
    """Import candle files, each whole and each once; a file that is known already changes nothing.

    Raises:
        DataError: a file can't be read at all; files before it are stored, it and those after it are not.
    """
    options = options or CandleImportOptions()
    outcomes = []
    for position, path in enumerate(paths, start=1):
        outcomes.append(_import_candle_file(path, state, history, options))
        on_progress(position, len(paths), path.name)
    return outcomes


def _import_candle_file(
    path: Path, state: StateStore, history: HistoryStore, options: CandleImportOptions
) -> ImportOutcome:
    sha256 = file_sha256(path)
    known = state.find_import("candles", sha256, options.key)
    if known is not None:
        return ImportOutcome(known, is_known=True)
    file = read_candle_file(
        path, chain=options.chain, token=options.token, interval=options.interval, timezone=options.timezone
    )
    new_rows, stored_count, repeated_count = _leave_out_stored(file.candles, history)
    record = state.begin_import(_record(path, file, options, stored_count, repeated_count))
    state.upsert_tokens({key.token: None for key in token_months_of(file.candles)})
    if new_rows.num_rows:
        history.insert_candles(new_rows)
    state.complete_import(record)
    return ImportOutcome(record, is_known=False)


def _record(
    path: Path, file: CandleFile, options: CandleImportOptions, stored_count: int, repeated_count: int
) -> ImportRecord:
    duplicates = file.duplicates + file.conflicts + repeated_count
    counted = stored_count + duplicates + len(file.quarantined)
    if counted != file.rows_read:
        raise IntegrityError(f"{path}: {file.rows_read} rows read, but {counted} stored, duplicate or quarantined")
    token_months = sorted(token_months_of(file.candles))
    return ImportRecord(
        kind="candles",
        file=path.name,
        sha256=file.sha256,
        options_key=options.key,
        rows_read=file.rows_read,
        rows_stored=stored_count,
        rows_duplicate=duplicates,
        rows_quarantined=len(file.quarantined),
        details={
            "conflicts_in_file": file.conflicts,
            "token_months": [[key.token.chain, key.token.address, key.month] for key in token_months],
        },
        quarantined=file.quarantined,
    )


def _leave_out_stored(candles: pa.Table, history: HistoryStore) -> tuple[pa.Table, int, int]:
    """Return (rows to insert, how many have a new key, how many have a key that is stored already).

    Rows that are stored with other values are inserted too: the newest import of a key wins.
    """
    parts: list[pa.Table] = []
    new_key_count = repeated_count = 0
    for group in _split_by_series(candles):
        timestamp = group["timestamp"].to_numpy()
        first = {name: group[name][0].as_py() for name in ("chain", "token_address", "interval")}
        stored = history.load_candle_rows(
            first["chain"],
            first["token_address"],
            first["interval"],
            int(timestamp[0]),
            int(timestamp[-1]) + 1,
        )
        stored_timestamp = stored["timestamp"].to_numpy()
        position = np.searchsorted(stored_timestamp, timestamp)
        is_stored = np.zeros(len(timestamp), dtype=bool)
        within = position < len(stored_timestamp)
        is_stored[within] = stored_timestamp[position[within]] == timestamp[within]
        is_same = is_stored.copy()
        for name in _VALUES:
            values, stored_values = group[name].to_numpy(), stored[name].to_numpy()
            is_same[is_stored] &= values[is_stored] == stored_values[position[is_stored]]
        parts.append(group.filter(pa.array(~is_same)))
        repeated_count += int(is_stored.sum())
        new_key_count += int((~is_stored).sum())
    return (pa.concat_tables(parts) if parts else candles.slice(0, 0)), new_key_count, repeated_count


def _split_by_series(candles: pa.Table) -> list[pa.Table]:
    """Split rows, sorted by chain, token, interval and time, into one table per (chain, token, interval)."""
    if not candles.num_rows:
        return []
    # Dictionary indices make the comparison of neighbours a comparison of integers.
    changes = np.zeros(candles.num_rows - 1, dtype=bool)
    for name in ("chain", "token_address", "interval"):
        codes = candles[name].combine_chunks().dictionary_encode()
        codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
        changes |= np.diff(codes.indices.to_numpy()) != 0
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), candles.num_rows]
    return [candles.slice(start, stop - start) for start, stop in pairwise(edges)]
