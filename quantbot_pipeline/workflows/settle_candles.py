"""Which rows of a batch are new: comparing checked candles with what is stored.

A batch's rows have one row per key. Several batches are settled together when none of their series overlap in time,
so that each can be compared with what is stored without looking at the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.ingest.checked_candles import (
    FLAGGED_CANDLE_SCHEMA,
    IDENTITY_COLUMNS,
    VALUE_COLUMNS,
    CheckedCandles,
)
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore
from quantbot_pipeline.storage.records import SeriesWindow

CONFLICTS_LISTED = 20
"""Conflicts of a file whose values are kept; all are counted."""

STORED_ROWS_PER_QUERY = 1_000_000
"""Stored candles that are looked at together: some 60 MB."""

BoolArray = npt.NDArray[np.bool_]
Conflict = dict[str, Any]


@dataclass(frozen=True)
class SettledBatch:
    """What of a batch is new.

    Attributes:
        is_needed: Which rows are to be inserted: those with a new key, and those that say something else than what
            is stored; the newest import of a key wins. Shape (n,).
        new_count: Rows with a key that is not stored.
        repeated_count: Rows with a key that is stored.
        conflict_count: Rows among these with other values.
        conflicts: The first of these, `CONFLICTS_LISTED` at most, with both values.
    """

    is_needed: BoolArray
    new_count: int
    repeated_count: int
    conflict_count: int
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows `first` to `stop` of one batch, all of one series; and how many rows may be stored in their window."""

    batch: int
    first: int
    stop: int
    window: SeriesWindow


def series_windows(checked: CheckedCandles) -> list[tuple[SeriesWindow, int, int]]:
    """Return for each series of a batch its window, and its first row and the row after its last."""
    edges = np.flatnonzero(np.diff(checked.series_of_row)) + 1
    found = []
    for first, stop in pairwise([0, *edges.tolist(), len(checked.timestamp)]):
        if first < stop:
            token, interval = checked.series[int(checked.series_of_row[first])]
            bounds = int(checked.timestamp[first]), int(checked.timestamp[stop - 1]) + 1
            found.append((SeriesWindow(token, interval, *bounds), first, stop))
    return found


def settle_batches(batches: Sequence[CheckedCandles], history: HistoryStore) -> list[SettledBatch]:
    """Compare batches, none of whose series overlap in time, with what is stored."""
    found = [
        (_Piece(number, first, stop, window))
        for number, checked in enumerate(batches)
        for window, first, stop in series_windows(checked)
    ]
    counts = history.count_stored_candles([piece.window for piece in found])
    is_stored = [np.zeros(len(checked.timestamp), dtype=np.bool_) for checked in batches]
    is_needed = [np.ones(len(checked.timestamp), dtype=np.bool_) for checked in batches]
    conflicts: list[list[Conflict]] = [[] for _ in batches]
    conflict_counts = [0] * len(batches)
    for pieces in _queries(found, counts, batches):
        stored = history.load_stored_candles([piece.window for piece in pieces])
        position = stored["position"].to_numpy()
        starts = np.searchsorted(position, np.arange(len(pieces) + 1))
        timestamp = stored["timestamp"].to_numpy().astype(np.int64)
        values = {name: stored[name].to_numpy() for name in (*VALUE_COLUMNS, "flags")}
        for piece, start, end in zip(pieces, starts[:-1], starts[1:], strict=True):
            of_series = slice(int(start), int(end))
            compared = _compare(
                batches[piece.batch], piece, timestamp[of_series], {name: values[name][of_series] for name in values}
            )
            rows = slice(piece.first, piece.stop)
            is_stored[piece.batch][rows], is_needed[piece.batch][rows] = compared.is_stored, compared.is_needed
            conflict_counts[piece.batch] += compared.conflict_count
            listed = conflicts[piece.batch]
            listed.extend(compared.conflicts[: CONFLICTS_LISTED - len(listed)])
    return [
        SettledBatch(
            is_needed=is_needed[number],
            new_count=int((~is_stored[number]).sum()),
            repeated_count=int(is_stored[number].sum()),
            conflict_count=conflict_counts[number],
            conflicts=tuple(conflicts[number]),
        )
        for number in range(len(batches))
    ]


def rows_to_insert(batches: Sequence[tuple[CheckedCandles, BoolArray]]) -> pa.Table:
    """Return the needed rows of batches as a table of `FLAGGED_CANDLE_SCHEMA`, its texts as dictionaries."""
    keys = sorted({key for checked, _ in batches for key in checked.series})
    number_of = {key: number for number, key in enumerate(keys)}
    texts = {
        "chain": [token.chain for token, _ in keys],
        "token_address": [token.address for token, _ in keys],
        "interval": [interval for _, interval in keys],
    }
    columns: dict[str, list[np.ndarray[Any, Any]]] = {
        name: [] for name in ("series", "timestamp", *VALUE_COLUMNS, "flags")
    }
    for checked, is_needed in batches:
        numbers = np.array([number_of[key] for key in checked.series], dtype=np.int32)
        given: dict[str, np.ndarray[Any, Any]] = {
            "timestamp": checked.timestamp,
            "flags": checked.flags,
            **checked.values,
        }
        whole = bool(is_needed.all())
        codes = numbers[checked.series_of_row] if len(numbers) else np.zeros(0, dtype=np.int32)
        columns["series"].append(codes if whole else codes[is_needed])
        for name, column in given.items():
            columns[name].append(column if whole else column[is_needed])
    codes = pa.chunked_array([pa.array(chunk) for chunk in columns["series"]], type=pa.int32())
    arrays = []
    for field in FLAGGED_CANDLE_SCHEMA:
        if field.name in IDENTITY_COLUMNS:
            arrays.append(_as_dictionary(codes, texts[field.name]))
        else:
            arrays.append(pa.chunked_array([pa.array(chunk) for chunk in columns[field.name]], type=field.type))
    return pa.table(arrays, names=FLAGGED_CANDLE_SCHEMA.names)


@dataclass(frozen=True)
class _Compared:
    is_stored: BoolArray
    is_needed: BoolArray
    conflict_count: int
    conflicts: list[Conflict]


def _compare(checked: CheckedCandles, piece: _Piece, stored_timestamp: IntArray, stored: dict[str, Any]) -> _Compared:
    rows = slice(piece.first, piece.stop)
    timestamp = checked.timestamp[rows]
    position = np.searchsorted(stored_timestamp, timestamp)
    is_stored = np.zeros(len(timestamp), dtype=np.bool_)
    within = position < len(stored_timestamp)
    is_stored[within] = stored_timestamp[position[within]] == timestamp[within]
    of_stored = position[is_stored]
    has_same_values = is_stored.copy()
    for name in VALUE_COLUMNS:
        has_same_values[is_stored] &= checked.values[name][rows][is_stored] == stored[name][of_stored]
    is_same = has_same_values.copy()
    is_same[is_stored] &= checked.flags[rows][is_stored] == stored["flags"][of_stored]
    conflicting = np.flatnonzero(is_stored & ~has_same_values)
    return _Compared(
        is_stored=is_stored,
        is_needed=~is_same,
        conflict_count=len(conflicting),
        conflicts=[
            conflict_details(
                (piece.window.token, piece.window.interval, int(timestamp[row])),
                [float(stored[name][position[row]]) for name in VALUE_COLUMNS],
                [float(checked.values[name][rows][row]) for name in VALUE_COLUMNS],
            )
            for row in conflicting[:CONFLICTS_LISTED].tolist()
        ],
    )


def conflict_details(key: tuple[TokenKey, str, int], old: Sequence[float], new: Sequence[float]) -> Conflict:
    """Return one conflict as JSON: the candle's key, the values that gave way, and those that are kept."""
    token, interval, timestamp = key
    return {
        "chain": token.chain,
        "token_address": token.address,
        "interval": interval,
        "timestamp": timestamp,
        "replaced": dict(zip(VALUE_COLUMNS, old, strict=True)),
        "kept": dict(zip(VALUE_COLUMNS, new, strict=True)),
    }


def _queries(found: Sequence[_Piece], counts: Sequence[int], batches: Sequence[CheckedCandles]) -> list[list[_Piece]]:
    """Return the pieces whose windows hold anything, cut and grouped so that no query returns too many rows."""
    queries: list[list[_Piece]] = []
    room = 0
    for piece, count in zip(found, counts, strict=True):
        if count == 0:
            continue
        parts = _cut(piece, -(-count // STORED_ROWS_PER_QUERY), batches[piece.batch].timestamp)
        for part in parts:
            expected = count // len(parts)
            if not queries or expected > room:
                queries.append([])
                room = STORED_ROWS_PER_QUERY
            queries[-1].append(part)
            room -= expected
    return queries


def _cut(piece: _Piece, part_count: int, timestamp: IntArray) -> list[_Piece]:
    """Cut a piece into parts that span equal times."""
    if part_count == 1:
        return [piece]
    window = piece.window
    bounds = np.linspace(window.start, window.end, part_count + 1).astype(np.int64)
    rows = piece.first + np.searchsorted(timestamp[piece.first : piece.stop], bounds)
    return [
        _Piece(piece.batch, int(first), int(stop), window._replace(start=int(start), end=int(end)))
        for (first, stop), (start, end) in zip(pairwise(rows), pairwise(bounds), strict=True)
        if first < stop
    ]


def _as_dictionary(codes: pa.ChunkedArray, texts: list[str]) -> pa.ChunkedArray:
    distinct = sorted(set(texts))
    place = {text: number for number, text in enumerate(distinct)}
    # Few texts, so their numbers fit into a byte or two of each row that is sent.
    number = np.min_scalar_type(-max(1, len(distinct)))
    mapping = np.array([place[text] for text in texts], dtype=number)
    dictionary = pa.array(distinct, type=pa.string())
    kind = pa.dictionary(pa.from_numpy_dtype(number), pa.string())
    return pa.chunked_array(
        [pa.DictionaryArray.from_arrays(pa.array(mapping[chunk.to_numpy()]), dictionary) for chunk in codes.chunks],
        type=kind,
    )
