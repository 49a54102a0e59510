"""What comes of the rows of a candle file: good candles, once per key, and rows that are refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey

CANDLE_SCHEMA = pa.schema(
    [
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),
    ]
)
"""One candle per row; `timestamp` is the open time in seconds since the epoch, UTC."""

FLAGGED_CANDLE_SCHEMA = CANDLE_SCHEMA.append(pa.field("flags", pa.uint8(), nullable=False))
"""The same with what is known of a candle beyond its numbers, as bits of FLAG_*."""

FLAG_VOLUME_MISSING = 1
"""The volume was NaN or empty on an idle bar (open = high = low = close) and became 0."""
FLAG_DISTORTED_WICK = 2
"""The wick is longer than the import's limit allows; the prices are as they came."""
FLAG_RESAMPLED = 4
"""The candle was made from candles of a finer interval, which no import does."""

VALUE_COLUMNS = ("open", "high", "low", "close", "volume")
IDENTITY_COLUMNS = ("chain", "token_address", "interval")

MAX_CONFLICT_EXAMPLES = 100
"""Conflicts that are listed, of each piece of a file."""


@dataclass(frozen=True, slots=True)
class CandleConflict:
    """A row that gave way to a later row of the same key with other values.

    Attributes:
        token: Token and
        interval: interval and
        timestamp: open time in seconds of both rows.
        line: Line of the row that gave way, and
        values: its values, in the order of `VALUE_COLUMNS`.
        kept_line: Line of the row that was taken, and
        kept_values: its values.
    """

    token: TokenKey
    interval: str
    timestamp: int
    line: int
    values: tuple[float, ...]
    kept_line: int
    kept_values: tuple[float, ...]


@dataclass(frozen=True)
class CheckedCandles:
    """Good candles and refused rows of one file, or of some neighbouring rows of one.

    `rows_read == len(timestamp) + duplicates + conflicts + len(quarantined)` always holds.

    Attributes:
        series: Token and interval of each series, sorted; also of those without a good row.
        series_of_row: Index of each good candle's series, ascending, int64, shape (n,).
        timestamp: Open times in seconds, increasing within a series, int64, shape (n,).
        values: By name of `VALUE_COLUMNS`, float64, shape (n,).
        repeats: How many good rows of each series gave way to a later row of the same key, int64, shape (n_series,).
        duplicates: Rows among these that say the same as the row that was taken.
        conflicts: Rows among these that say something else.
        quarantined: Rows that can't be used, in file order.
        rows_read: Rows of the file that this is made of.
        flags: What is known of each candle beyond its numbers, bits of FLAG_*, uint8, shape (n,).
        conflict_examples: The first of the conflicts, `MAX_CONFLICT_EXAMPLES` at most.
        notes: What a person should know about how the file was read, such as that chain and token were taken from its
            name; each is told once, with the first rows.
    """

    series: list[tuple[TokenKey, str]]
    series_of_row: IntArray
    timestamp: IntArray
    values: dict[str, FloatArray]
    repeats: IntArray
    duplicates: int
    conflicts: int
    quarantined: tuple[QuarantinedRow, ...]
    rows_read: int
    flags: npt.NDArray[np.uint8]
    conflict_examples: tuple[CandleConflict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def candles(self) -> pa.Table:
        """The good candles as a table of `FLAGGED_CANDLE_SCHEMA`; made anew at every access."""
        return self.table().append_column(FLAGGED_CANDLE_SCHEMA.field("flags"), pa.array(self.flags, type=pa.uint8()))

    def between(self, start: int, end: int) -> "CheckedCandles":
        """Return the same with those good candles alone that open in `[start, end)`; no other counts as read."""
        is_within = (self.timestamp >= start) & (self.timestamp < end)
        return replace(
            self,
            series_of_row=self.series_of_row[is_within],
            timestamp=self.timestamp[is_within],
            values={name: numbers[is_within] for name, numbers in self.values.items()},
            flags=self.flags[is_within],
            rows_read=self.rows_read - int((~is_within).sum()),
        )

    def flag_count(self, flag: int) -> int:
        """Return how many of the good candles have a flag."""
        return int(np.count_nonzero(self.flags & np.uint8(flag)))

    def table(self) -> pa.Table:
        """Return the good candles as a table of `CANDLE_SCHEMA`."""
        texts = {
            "chain": [token.chain for token, _ in self.series],
            "token_address": [token.address for token, _ in self.series],
            "interval": [interval for _, interval in self.series],
        }
        codes = pa.array(self.series_of_row.astype(np.int32))
        arrays = [
            pa.DictionaryArray.from_arrays(codes, pa.array(texts[name], type=pa.string())).cast(pa.string())
            for name in IDENTITY_COLUMNS
        ]
        arrays.append(pa.array(self.timestamp, type=pa.int64()))
        arrays += [pa.array(self.values[name], type=pa.float64()) for name in VALUE_COLUMNS]
        return pa.Table.from_arrays(arrays, schema=CANDLE_SCHEMA)


@dataclass(frozen=True)
class PlacedCandles:
    """Good rows of a piece: which they are, and for every row of the piece its series, time, values and flags."""

    usable: IntArray
    series_of_row: IntArray
    series: list[tuple[TokenKey, str]]
    seconds: IntArray
    values: dict[str, FloatArray]
    flags: npt.NDArray[np.uint8]


def unique_candles(
    candles: PlacedCandles, line_of: Callable[[int], int], quarantined: tuple[QuarantinedRow, ...]
) -> CheckedCandles:
    """Return the usable candles, one per key and sorted; of several rows of a key the last one is taken."""
    usable = candles.usable
    group = candles.series_of_row[usable]
    timestamp = candles.seconds[usable]
    is_sorted = bool(((group[1:] > group[:-1]) | ((group[1:] == group[:-1]) & (timestamp[1:] > timestamp[:-1]))).all())
    duplicates = conflicts = 0
    repeats = np.zeros(len(candles.series), dtype=np.int64)
    examples: tuple[CandleConflict, ...] = ()
    kept = usable
    if not is_sorted:
        # Stable, so that rows of one key stay in file order and the last of them is the newest.
        order = np.lexsort((timestamp, group))
        group, timestamp, ordered = group[order], timestamp[order], usable[order]
        is_last = np.ones(len(ordered), dtype=np.bool_)
        is_last[:-1] = (group[1:] != group[:-1]) | (timestamp[1:] != timestamp[:-1])
        kept = ordered
        if not is_last.all():
            last_positions = np.flatnonzero(is_last)
            run: IntArray = np.cumsum(is_last) - is_last
            winner = ordered[last_positions[run]]
            is_equal = np.ones(len(ordered), dtype=np.bool_)
            for numbers in candles.values.values():
                is_equal &= numbers[ordered] == numbers[winner]
            duplicates = int((~is_last & is_equal).sum())
            conflicts = int((~is_last & ~is_equal).sum())
            listed = np.flatnonzero(~is_last & ~is_equal)[:MAX_CONFLICT_EXAMPLES]
            examples = tuple(
                _conflict(candles, line_of, int(ordered[place]), int(winner[place]), int(group[place]))
                for place in listed
            )
            repeats = np.bincount(group[~is_last], minlength=len(candles.series)).astype(np.int64)
            kept, group, timestamp = ordered[is_last], group[is_last], timestamp[is_last]
    is_whole_file = len(kept) == len(candles.seconds) and is_sorted
    return CheckedCandles(
        series=candles.series,
        series_of_row=group,
        timestamp=timestamp,
        values={name: numbers if is_whole_file else numbers[kept] for name, numbers in candles.values.items()},
        repeats=repeats,
        duplicates=duplicates,
        conflicts=conflicts,
        quarantined=quarantined,
        rows_read=len(kept) + duplicates + conflicts + len(quarantined),
        flags=candles.flags[kept],
        conflict_examples=examples,
    )


def merged(pieces: Sequence[CheckedCandles]) -> CheckedCandles:
    """Return the pieces of one file, in its order, as one; at least one piece.

    Candles that come again in a later piece give way to it, as duplicates or conflicts.
    """
    if len(pieces) == 1:
        return pieces[0]
    series = sorted({key for piece in pieces for key in piece.series})
    rank = {key: position for position, key in enumerate(series)}
    ranks = [np.array([rank[key] for key in piece.series], dtype=np.int64) for piece in pieces]
    groups = [
        own[piece.series_of_row] if len(own) else piece.series_of_row for own, piece in zip(ranks, pieces, strict=True)
    ]
    seconds = np.concatenate([piece.timestamp for piece in pieces])
    candles = PlacedCandles(
        np.arange(len(seconds)),
        np.concatenate(groups),
        series,
        seconds,
        {name: np.concatenate([piece.values[name] for piece in pieces]) for name in VALUE_COLUMNS},
        np.concatenate([piece.flags for piece in pieces]),
    )
    quarantined = tuple(sorted((row for piece in pieces for row in piece.quarantined), key=lambda row: row.line))
    # Lines of candles are not kept; a conflict between pieces is listed with line 0.
    whole = unique_candles(candles, lambda _row: 0, quarantined)
    repeats = whole.repeats
    for own, piece in zip(ranks, pieces, strict=True):
        np.add.at(repeats, own, piece.repeats)
    examples = (*(example for piece in pieces for example in piece.conflict_examples), *whole.conflict_examples)
    return replace(
        whole,
        repeats=repeats,
        duplicates=whole.duplicates + sum(piece.duplicates for piece in pieces),
        conflicts=whole.conflicts + sum(piece.conflicts for piece in pieces),
        rows_read=sum(piece.rows_read for piece in pieces),
        conflict_examples=examples[:MAX_CONFLICT_EXAMPLES],
        notes=tuple(note for piece in pieces for note in piece.notes),
    )


def _conflict(
    candles: PlacedCandles, line_of: Callable[[int], int], row: int, kept: int, series: int
) -> CandleConflict:
    token, interval = candles.series[series]

    def values_of(place: int) -> tuple[float, ...]:
        return tuple(float(candles.values[name][place]) for name in VALUE_COLUMNS)

    return CandleConflict(
        token,
        interval,
        int(candles.seconds[row]),
        line_of(row),
        values_of(row),
        line_of(kept),
        values_of(kept),
    )
