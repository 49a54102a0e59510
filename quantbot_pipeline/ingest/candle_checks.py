"""The rules of a valid candle, applied to the columns of one file.

Arrays run over the rows of the file in file order; a row index counts from 0. Only rows at fault cost
Python: a file without faults takes a few vector operations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.arrow_columns import array_of, filled
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, FloatArray, IntArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, shown
from quantbot_pipeline.ingest.timestamps import EARLIEST_SECOND, END_SECOND, parse_instant
from quantbot_pipeline.ingest.tokens import TokenKey, canonical_chain, canonical_token

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

VALUE_COLUMNS = ("open", "high", "low", "close", "volume")
IDENTITY_COLUMNS = ("chain", "token_address", "interval")
OPTION_OF_COLUMN = {"chain": "--chain", "token_address": "--token", "interval": "--interval"}
"""The option of the import that stands in for a missing column."""

MAX_CONFLICT_EXAMPLES = 100
"""Conflicts that are listed, of each piece of a file."""

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CandleRows:
    """The rows of a file before any rule was applied.

    Attributes:
        file: The file's name as given.
        found_names: All column names of the file, as they are spelled there.
        row_count: Rows in `columns`.
        columns: The columns that were found, as Arrow arrays of one chunk.
        line_of: Line (or 1-based row) of a row index.
        raw_texts_of: Raw texts of row indices.
        broken: Records that could not even be split into columns; they are not among `columns`.
    """

    file: str
    found_names: tuple[str, ...]
    row_count: int
    columns: dict[str, pa.Array]
    line_of: Callable[[int], int]
    raw_texts_of: Callable[[list[int]], list[str]]
    broken: tuple[QuarantinedRow, ...]


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


def unknown_interval(interval: str) -> str:
    """Return the message that refuses an interval name."""
    return f"interval {shown(interval)} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}"


class _Faults:
    """The first broken rule of every row."""

    def __init__(self, row_count: int) -> None:
        self.is_bad: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._found: dict[int, tuple[str | None, str]] = {}

    def add(self, row: int, field: str | None, reason: str) -> None:
        """Note a broken rule for a row, unless it broke one before."""
        if row not in self._found:
            self._found[row] = (field, reason)
            self.is_bad[row] = True

    def add_where(self, mask: BoolArray, field: str | None, reason_of: Callable[[int], str]) -> None:
        """Note a broken rule wherever the mask is true."""
        for row in np.flatnonzero(mask):
            self.add(int(row), field, reason_of(int(row)))

    def rows(self, source: CandleRows) -> list[QuarantinedRow]:
        """Return the quarantined rows in file order."""
        if not self._found:
            return []
        refused = sorted(self._found)
        return [
            QuarantinedRow(source.file, source.line_of(row), *self._found[row], raw_text)
            for row, raw_text in zip(refused, source.raw_texts_of(refused), strict=True)
        ]


def check_candles(rows: CandleRows, given: dict[str, str | None], zone: ZoneInfo | None) -> CheckedCandles:
    """Return the good candles of a file, once each, and the rows that are refused.

    Args:
        rows: The rows as read; all value columns and `timestamp` are there, and each identity column is
            there or given.
        given: Chain, token address and interval for rows that state none, by column name.
        zone: Zone of times that state none; None refuses them.

    Raises:
        DataError: a column's type can't be read at all, or the file contradicts what is given.
    """
    faults = _Faults(rows.row_count)
    series_of_row, series = _series(rows, given, faults)
    seconds, is_whole = _seconds(rows, zone, faults)
    values = {name: _float_column(rows, name, faults) for name in VALUE_COLUMNS}
    _apply_candle_rules(values, faults)
    if series:
        step = np.array([INTERVAL_SECONDS[name] for _, name in series], dtype=np.int64)[series_of_row]
        faults.add_where(
            ~faults.is_bad & (~is_whole | (seconds % step != 0)),
            "timestamp",
            lambda row: (
                f"timestamp {_cell(rows, 'timestamp', row)} is not on the grid of interval "
                f"{series[int(series_of_row[row])][1]} (a multiple of {int(step[row])} seconds)"
            ),
        )
    quarantined = tuple(sorted((*rows.broken, *faults.rows(rows)), key=lambda row: row.line))
    return _unique_candles(np.flatnonzero(~faults.is_bad), series_of_row, series, seconds, values, quarantined)


def _cell(rows: CandleRows, name: str, row: int) -> str:
    return shown(rows.columns[name][row].as_py())


def _text_codes(rows: CandleRows, name: str, given: str | None) -> tuple[IntArray, list[str | None]]:
    """Return for every row the index of its text, and the texts; the argument fills empty cells."""
    column = rows.columns.get(name)
    if column is None:
        return np.zeros(rows.row_count, dtype=np.int64), [given]
    try:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        texts = [_text_or_none(text) or given for text in column.dictionary.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise DataError(
            f"{rows.file}: column {name!r} is of type {rows.columns[name].type}; text is allowed"
        ) from error
    indices = filled(column.indices.cast(pa.int64()), len(texts))
    codes: IntArray = array_of(indices)
    return codes, [*texts, given]


def _text_or_none(text: str | None) -> str | None:
    trimmed = "" if text is None else text.strip()
    return trimmed or None


def _series(
    rows: CandleRows, given: dict[str, str | None], faults: _Faults
) -> tuple[IntArray, list[tuple[TokenKey, str]]]:
    """Return for every row the index of its (token, interval), and these in sorted order."""
    codes_of: dict[str, IntArray] = {}
    texts_of: dict[str, list[str | None]] = {}
    for name in IDENTITY_COLUMNS:
        codes_of[name], texts_of[name] = _text_codes(rows, name, given[name])
    combined = np.zeros(rows.row_count, dtype=np.int64)
    for name in IDENTITY_COLUMNS:
        combined = combined * len(texts_of[name]) + codes_of[name]
    spellings, spelling_of_row = _distinct(combined)
    keys: list[tuple[TokenKey, str] | None] = []
    refused: list[tuple[str, str] | None] = []
    for spelling in spellings:
        rest, interval_code = divmod(int(spelling), len(texts_of["interval"]))
        chain_code, token_code = divmod(rest, len(texts_of["token_address"]))
        key, fault = _series_key(
            texts_of["chain"][chain_code],
            texts_of["token_address"][token_code],
            texts_of["interval"][interval_code],
        )
        if key is not None:
            _refuse_contradiction(rows.file, key, given)
        keys.append(key)
        refused.append(fault)
    if any(refused):
        for row in np.flatnonzero(np.array([fault is not None for fault in refused])[spelling_of_row]):
            fault = refused[int(spelling_of_row[row])]
            if fault is not None:
                faults.add(int(row), *fault)
    series = sorted({key for key in keys if key is not None})
    rank = {key: position for position, key in enumerate(series)}
    rank_of_spelling = np.array([0 if key is None else rank[key] for key in keys], dtype=np.int64)
    if not len(spellings):
        return np.zeros(0, dtype=np.int64), series
    return rank_of_spelling[spelling_of_row], series


def _distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct codes and for every row the position of its code; quick when there is but one."""
    if len(codes) and (codes == codes[0]).all():
        return codes[:1], np.zeros(len(codes), dtype=np.int64)
    distinct, positions = np.unique(codes, return_inverse=True)
    return distinct, positions.astype(np.int64)


def _series_key(
    chain: str | None, token_address: str | None, interval: str | None
) -> tuple[tuple[TokenKey, str] | None, tuple[str, str] | None]:
    """Return the series that the texts name, or the field at fault and the reason."""
    if chain is None:
        return None, ("chain", "chain is empty")
    if token_address is None:
        return None, ("token_address", "token_address is empty")
    if interval is None:
        return None, ("interval", "interval is empty")
    try:
        canonical_chain(chain)
    except DataError as error:
        return None, ("chain", str(error))
    try:
        token = canonical_token(chain, token_address)
    except DataError as error:
        return None, ("token_address", str(error))
    if interval not in INTERVAL_SECONDS:
        return None, ("interval", unknown_interval(interval))
    return (token, interval), None


def _refuse_contradiction(file: str, key: tuple[TokenKey, str], given: dict[str, str | None]) -> None:
    """Refuse a file whose own columns say something else than the options of the import."""
    token, interval = key
    asked = canonical_token(given["chain"] or token.chain, given["token_address"] or token.address)
    found = {"chain": token.chain, "token_address": token.address, "interval": interval}
    wanted = {
        "chain": asked.chain,
        "token_address": asked.address,
        "interval": given["interval"] or interval,
    }
    for name in IDENTITY_COLUMNS:
        if found[name] != wanted[name]:
            raise DataError(
                f"{file}: column {name!r} says {found[name]!r}, but {OPTION_OF_COLUMN[name]} says "
                f"{wanted[name]!r}; leave {OPTION_OF_COLUMN[name]} out for files that have the column"
            )


def _seconds(rows: CandleRows, zone: ZoneInfo | None, faults: _Faults) -> tuple[IntArray, BoolArray]:
    """Return open times in whole seconds since the epoch, and where nothing was cut off to get them."""
    column = rows.columns["timestamp"]
    if column.null_count:
        faults.add_where(
            column.is_null().to_numpy(zero_copy_only=False), "timestamp", lambda _row: "timestamp is missing"
        )
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _seconds_of_instants(rows, column, zone, faults)
    if pa.types.is_integer(kind):
        numbers = array_of(filled(column, 0).cast(pa.int64(), safe=False))
        return _seconds_of_integers(numbers, faults)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _seconds_of_floats(column.cast(pa.float64()), faults)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _seconds_of_texts(filled(column, ""), zone, faults)
    raise DataError(
        f"{rows.file}: column 'timestamp' is of type {kind}; times, epoch seconds or milliseconds, "
        "or ISO 8601 text are allowed"
    )


def _seconds_of_instants(
    rows: CandleRows, column: pa.Array, zone: ZoneInfo | None, faults: _Faults
) -> tuple[IntArray, BoolArray]:
    if getattr(column.type, "tz", None) is None:
        if zone is None:
            raise DataError(
                f"{rows.file}: column 'timestamp' is of type {column.type} and states no zone; "
                "name the file's zone with --timezone"
            )
        if zone.key != "UTC":
            # Clock changes need a look at every value; this path is rare and may be slow.
            texts = [value.isoformat() if value is not None else "" for value in column.to_pylist()]
            return _seconds_of_texts(pa.array(texts, type=pa.string()), zone, faults)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    ticks_per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    ticks = filled(column.cast(pa.int64()), EARLIEST_SECOND * ticks_per_second)
    seconds, rest = np.divmod(array_of(ticks), ticks_per_second)
    faults.add_where(
        (seconds < EARLIEST_SECOND) | (seconds >= END_SECOND),
        "timestamp",
        lambda row: f"timestamp {column[row].as_py()} lies outside 2009 to 2099",
    )
    return seconds, rest == 0


def _seconds_of_integers(numbers: IntArray, faults: _Faults) -> tuple[IntArray, BoolArray]:
    in_seconds = (numbers >= EARLIEST_SECOND) & (numbers < END_SECOND)
    if in_seconds.all():
        return numbers, np.ones(len(numbers), dtype=np.bool_)
    in_milliseconds = (numbers >= EARLIEST_SECOND * 1000) & (numbers < END_SECOND * 1000)
    seconds = np.where(in_milliseconds, numbers // 1000, numbers)
    faults.add_where(~(in_seconds | in_milliseconds), "timestamp", lambda row: _instant_fault(int(numbers[row]), None))
    return seconds, ~in_milliseconds | (numbers % 1000 == 0)


def _seconds_of_floats(column: pa.Array, faults: _Faults) -> tuple[IntArray, BoolArray]:
    numbers = array_of(filled(column, math.nan))
    faults.add_where(~np.isfinite(numbers), "timestamp", lambda row: f"timestamp {numbers[row]} is not finite")
    # Beyond 9e18 a float has no int64; such values are out of every range anyway.
    bounded = np.clip(np.nan_to_num(numbers, nan=0.0), -9e18, 9e18)
    whole = np.floor(bounded)
    seconds, is_whole = _seconds_of_integers(whole.astype(np.int64), faults)
    return seconds, is_whole & (whole == bounded)


def _seconds_of_texts(column: pa.Array, zone: ZoneInfo | None, faults: _Faults) -> tuple[IntArray, BoolArray]:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        return _seconds_of_integers(array_of(trimmed.cast(pa.int64())), faults)
    except pa.ArrowInvalid:
        pass
    try:
        ticks = array_of(trimmed.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    except pa.ArrowInvalid:
        return _seconds_of_mixed_texts(trimmed.to_pylist(), zone, faults)
    seconds, rest = np.divmod(ticks, 1_000_000)
    faults.add_where(
        (seconds < EARLIEST_SECOND) | (seconds >= END_SECOND),
        "timestamp",
        lambda row: f"timestamp {shown(column[row].as_py())} lies outside 2009 to 2099",
    )
    return seconds, rest == 0


def _seconds_of_mixed_texts(texts: list[str], zone: ZoneInfo | None, faults: _Faults) -> tuple[IntArray, BoolArray]:
    seconds = np.full(len(texts), EARLIEST_SECOND, dtype=np.int64)
    is_whole = np.ones(len(texts), dtype=np.bool_)
    for row, text in enumerate(texts):
        try:
            instant = parse_instant(text, zone, is_date_enough=True)
        except DataError as error:
            faults.add(row, "timestamp", str(error))
            continue
        seconds[row] = int(instant.timestamp())
        is_whole[row] = instant.microsecond == 0
    return seconds, is_whole


def _instant_fault(value: int | float | str, zone: ZoneInfo | None) -> str:
    try:
        parse_instant(value, zone)
    except DataError as error:
        return str(error)
    raise AssertionError(f"timestamp {value!r} was refused as a number and accepted as text")


def _float_column(rows: CandleRows, name: str, faults: _Faults) -> FloatArray:
    column = rows.columns[name]
    if column.null_count:
        faults.add_where(column.is_null().to_numpy(zero_copy_only=False), name, lambda _row: f"{name} is missing")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _floats_of_texts(filled(column, "1"), name, faults)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{rows.file}: column {name!r} is of type {kind}; numbers or text are allowed")
    numbers: FloatArray = array_of(filled(column.cast(pa.float64(), safe=False), 1.0))
    return numbers


def _floats_of_texts(column: pa.Array, name: str, faults: _Faults) -> FloatArray:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        numbers: FloatArray = array_of(trimmed.cast(pa.float64()))
    except pa.ArrowInvalid:
        pass
    else:
        return numbers
    parsed = np.ones(len(trimmed), dtype=np.float64)
    for row, text in enumerate(trimmed.to_pylist()):
        if not text:
            faults.add(row, name, f"{name} is empty")
            continue
        try:
            parsed[row] = parse_number(text, name)
        except DataError as error:
            faults.add(row, name, str(error))
    return parsed


def _apply_candle_rules(values: dict[str, FloatArray], faults: _Faults) -> None:
    """Note every row that is no valid candle: the rules of the engine's contract, in its order."""
    opens, highs, lows, closes, volumes = (values[name] for name in VALUE_COLUMNS)

    def candle(row: int) -> str:
        return ", ".join(f"{name} {values[name][row]!s}" for name in VALUE_COLUMNS)

    for name in VALUE_COLUMNS:
        for row in np.flatnonzero(~np.isfinite(values[name])):
            faults.add(int(row), name, f"{name} must be finite, found {values[name][row]!s}")
    # Comparisons with NaN are false, so these rules also catch what was named above; the first reason stays.
    rules: tuple[tuple[str, str, BoolArray], ...] = (
        ("low", "0 < low", lows > 0),
        ("low", "low <= min(open, close)", lows <= np.minimum(opens, closes)),
        ("high", "max(open, close) <= high", np.maximum(opens, closes) <= highs),
        ("volume", "volume >= 0", volumes >= 0),
    )
    for field, rule, holds in rules:
        for row in np.flatnonzero(~holds):
            faults.add(int(row), field, f"the rule {rule} is broken: {candle(int(row))}")


def _unique_candles(
    usable: IntArray,
    series_of_row: IntArray,
    series: list[tuple[TokenKey, str]],
    seconds: IntArray,
    values: dict[str, FloatArray],
    quarantined: tuple[QuarantinedRow, ...],
) -> CheckedCandles:
    """Return the usable candles, one per key and sorted; of several rows of a key the last one is taken."""
    group = series_of_row[usable]
    timestamp = seconds[usable]
    is_sorted = bool(((group[1:] > group[:-1]) | ((group[1:] == group[:-1]) & (timestamp[1:] > timestamp[:-1]))).all())
    duplicates = conflicts = 0
    repeats = np.zeros(len(series), dtype=np.int64)
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
            for numbers in values.values():
                is_equal &= numbers[ordered] == numbers[winner]
            duplicates = int((~is_last & is_equal).sum())
            conflicts = int((~is_last & ~is_equal).sum())
            repeats = np.bincount(group[~is_last], minlength=len(series)).astype(np.int64)
            kept, group, timestamp = ordered[is_last], group[is_last], timestamp[is_last]
    is_whole_file = len(kept) == len(seconds) and is_sorted
    return CheckedCandles(
        series=series,
        series_of_row=group,
        timestamp=timestamp,
        values={name: numbers if is_whole_file else numbers[kept] for name, numbers in values.items()},
        repeats=repeats,
        duplicates=duplicates,
        conflicts=conflicts,
        quarantined=quarantined,
        rows_read=len(kept) + duplicates + conflicts + len(quarantined),
        flags=np.zeros(len(kept), dtype=np.uint8),
    )
