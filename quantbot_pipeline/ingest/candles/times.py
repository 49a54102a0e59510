"""Open times of candles: seconds since the epoch out of numbers, typed times and texts, each row for itself.

Numbers are seconds, milliseconds, microseconds or nanoseconds by their magnitude: read in the right unit a value lies
between 2009 and the end that is allowed, and no value does so in two units.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.arrow_columns import array_of, filled
from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.faults import BoolArray
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.timestamps import EARLIEST_SECOND, END_SECOND, EPOCH, parse_instant

_TICKS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_OTHER_UNITS = {"minutes": 60.0, "hours": 3600.0, "days": 86400.0, "tenths of a second": 0.1, "hundredths": 0.01}
_EXCEL_EPOCH_DAYS = 25569
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_HAS_TIME_OF_DAY = r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}"
_LONGEST_TIME = 64


@dataclass(frozen=True)
class ReadTimes:
    """Times of rows.

    Attributes:
        seconds: Whole seconds since the epoch, int64, shape (n,); some number where nothing is known.
        is_whole: Whether nothing was cut off to get them.
        is_known: Whether the row says a time that is allowed.
        reason_of: Why a row's time is not known.
    """

    seconds: IntArray
    is_whole: BoolArray
    is_known: BoolArray
    reason_of: Callable[[int], str]


def end_second(now: datetime | None) -> int:
    """Return the first second that no candle may open at: a day after the present, or 2100 if that is not told."""
    return END_SECOND if now is None else min(END_SECOND, int(now.timestamp()) + 86400)


def read_times(columns: Sequence[tuple[str, pa.Array]], zone: ZoneInfo | None, end: int, *, file: str) -> ReadTimes:
    """Return the times of rows that say them in one column or in several.

    A row's time is that of its first column that is an epoch number or a typed time and can be read, else of the first
    text. Another column that states a whole time too, with its zone, must agree.

    Args:
        columns: Names and cells, at least one column.
        zone: Zone of times that state none; None refuses them.
        end: First second that is not allowed.
        file: Name for messages.

    Raises:
        DataError: the only column has a type that is no time, or typed times without a zone and `zone` is None.
    """
    if len(columns) == 1:
        return _read_column(*columns[0], zone, end, file=file)
    # Numbers before texts: spreadsheets mangle the latter.
    ordered = sorted(columns, key=lambda named: _looks_like_text(named[1]))
    found: list[tuple[str, ReadTimes]] = []
    refusal: DataError | None = None
    for name, column in ordered:
        try:
            found.append((name, _read_column(name, column, zone, end, file=file, is_one_of_several=bool(found))))
        except DataError as error:
            refusal = refusal or error
    if not found:
        raise refusal or DataError(f"{file}: no column says the time")
    _, first = found[0]
    seconds, is_whole, is_known = first.seconds.copy(), first.is_whole.copy(), first.is_known.copy()
    disagrees = np.zeros(len(seconds), dtype=np.bool_)
    others: dict[int, str] = {}
    for name, times in found[1:]:
        differs = is_known & times.is_known & (times.seconds != seconds) & is_whole & times.is_whole
        for row in np.flatnonzero(differs & ~disagrees):
            others[int(row)] = (
                f"{found[0][0]} says {_iso(int(seconds[row]))}, but {name} says {_iso(int(times.seconds[row]))}"
            )
        disagrees |= differs
        fills = ~is_known & times.is_known
        seconds[fills], is_whole[fills] = times.seconds[fills], times.is_whole[fills]
        is_known |= fills

    def reason_of(row: int) -> str:
        return others.get(row) or first.reason_of(row)

    return ReadTimes(seconds, is_whole, is_known & ~disagrees, reason_of)


def _iso(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).isoformat()


def _looks_like_text(column: pa.Array) -> bool:
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return False
    sample = [text for text in values.slice(0, 100).to_pylist() if text]
    return not any(re.match(_NUMBER, text.strip()[:_LONGEST_TIME]) for text in sample)


def _read_column(
    name: str, column: pa.Array, zone: ZoneInfo | None, end: int, *, file: str, is_one_of_several: bool = False
) -> ReadTimes:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    is_null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    if pa.types.is_null(kind):
        count = len(column)
        times = ReadTimes(
            np.zeros(count, dtype=np.int64),
            np.ones(count, dtype=np.bool_),
            np.zeros(count, dtype=np.bool_),
            lambda _row: f"{name} is missing",
        )
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = _of_instants(name, column, zone, end, file)
    elif pa.types.is_decimal(kind) or pa.types.is_floating(kind) or pa.types.is_uint64(kind):
        times = _of_floats(array_of(filled(column.cast(pa.float64(), safe=False), math.nan)), end)
    elif pa.types.is_integer(kind):
        times = _of_integers(array_of(filled(column.cast(pa.int64()), 0)), end)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        times = _of_texts(filled(column.cast(pa.string()), ""), zone, end, is_one_of_several=is_one_of_several)
    else:
        raise DataError(
            f"{file}: column {name!r} is of type {kind}; times, epoch numbers (s, ms, us, ns), or ISO 8601 text are "
            "allowed"
        )
    if is_null is None:
        return times
    return ReadTimes(
        times.seconds,
        times.is_whole,
        times.is_known & ~is_null,
        lambda row: f"{name} is missing" if is_null[row] else times.reason_of(row),
    )


def _of_instants(name: str, column: pa.Array, zone: ZoneInfo | None, end: int, file: str) -> ReadTimes:
    if getattr(column.type, "tz", None) is None:
        if zone is None:
            raise DataError(
                f"{file}: column {name!r} is of type {column.type} and states no zone; "
                "name the file's zone with --timezone"
            )
        if zone.key != "UTC":
            # Clock changes need a look at every value; this path is rare and may be slow.
            texts = [value.isoformat() if value is not None else "" for value in column.to_pylist()]
            return _of_texts(pa.array(texts, type=pa.string()), zone, end)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    ticks = filled(column.cast(pa.int64()), 0)
    return _of_ticks(array_of(ticks), per_second, end)


def _of_ticks(ticks: IntArray, per_second: int, end: int) -> ReadTimes:
    seconds, rest = np.divmod(ticks, per_second) if per_second > 1 else (ticks, np.zeros(1, dtype=np.int64))
    return ReadTimes(
        seconds,
        np.broadcast_to(rest == 0, seconds.shape),
        (seconds >= EARLIEST_SECOND) & (seconds < end),
        lambda row: outside(_instant_text(int(seconds[row])), end),
    )


def _instant_text(second: int) -> str:
    try:
        return _iso(second)
    except OverflowError:
        return f"{second} seconds"


def outside(what: str, end: int) -> str:
    """Return the reason that refuses a time which is no candle's."""
    return f"timestamp {what} lies outside {_allowed(end)}"


def _with_what_is_allowed(reason: str, end: int) -> str:
    """Return why a text is no time, with what is allowed in candle files: more units, and not the future."""
    fault, separator, _ = reason.partition("; allowed are epoch ")
    if separator:
        return (
            f"{fault}; allowed are seconds, milliseconds, microseconds or nanoseconds since 1970, or ISO 8601 with Z "
            f"or an offset, from {_allowed(end)}"
        )
    return reason.replace("lies outside 2009 to 2099", f"lies outside {_allowed(end)}")


def _allowed(end: int) -> str:
    return "2009 to 2099" if end == END_SECOND else f"2009 to {_iso(end)}, a day after now"


def explain_number(value: float, text: str, end: int) -> str:
    """Return why a number is no time, naming the unit it is likely in.

    Args:
        value: The number.
        text: As it was written.
        end: First second that is not allowed.
    """
    start = f"timestamp {text[:40]}"
    if not math.isfinite(value):
        return f"{start} is not finite"
    for unit, ticks in _TICKS.items():
        second = value / ticks
        if end <= second < END_SECOND:
            return f"{start} is {_iso(int(second))} if these are {unit}, as is likely; allowed is {_allowed(end)}"
    if EARLIEST_SECOND <= (value - _EXCEL_EPOCH_DAYS) * 86400 < end:
        return f"{start} looks like a spreadsheet's day number; write seconds since 1970 or ISO 8601 text"
    for unit, length in _OTHER_UNITS.items():
        if EARLIEST_SECOND <= value * length < end:
            return f"{start} looks like {unit} since 1970; write seconds, milliseconds, microseconds or nanoseconds"
    # The unit in which the date comes nearest to what is allowed, by magnitude.
    if value <= 0:
        return f"{start} lies outside {_allowed(end)} in every unit; seconds, ms, us or ns since 1970 are allowed"
    unit = min(_TICKS, key=lambda name: abs(math.log(value / _TICKS[name] / EARLIEST_SECOND)))
    return (
        f"{start} lies outside {_allowed(end)} in seconds, milliseconds, microseconds and nanoseconds"
        f"; {unit} are the likeliest, which gives {_instant_text(int(value / _TICKS[unit]))}"
    )


def _of_integers(numbers: IntArray, end: int) -> ReadTimes:
    def reason_of(row: int) -> str:
        return explain_number(float(numbers[row]), str(int(numbers[row])), end)

    for per_second in _TICKS.values():
        if len(numbers) and ((numbers >= EARLIEST_SECOND * per_second) & (numbers < end * per_second)).all():
            times = _of_ticks(numbers, per_second, end)
            return ReadTimes(times.seconds, times.is_whole, times.is_known, reason_of)
    seconds = np.zeros(len(numbers), dtype=np.int64)
    is_whole = np.ones(len(numbers), dtype=np.bool_)
    is_known = np.zeros(len(numbers), dtype=np.bool_)
    for per_second in _TICKS.values():
        in_unit = (numbers >= EARLIEST_SECOND * per_second) & (numbers < end * per_second)
        seconds[in_unit], rest = np.divmod(numbers[in_unit], per_second)
        is_whole[in_unit] = rest == 0
        is_known |= in_unit
    return ReadTimes(seconds, is_whole, is_known, reason_of)


def _of_floats(numbers: "np.ndarray[tuple[int], np.dtype[np.float64]]", end: int) -> ReadTimes:
    # Beyond 9e18 a float has no int64; such values are out of every range anyway.
    bounded = np.clip(np.nan_to_num(numbers, nan=0.0), -9e18, 9e18)
    whole = np.floor(bounded)
    times = _of_integers(whole.astype(np.int64), end)
    return ReadTimes(
        times.seconds,
        times.is_whole & (whole == bounded),
        times.is_known & np.isfinite(numbers),
        lambda row: explain_number(float(numbers[row]), repr(float(numbers[row])), end),
    )


def _of_texts(column: pa.Array, zone: ZoneInfo | None, end: int, *, is_one_of_several: bool = False) -> ReadTimes:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        return _of_integers(array_of(trimmed.cast(pa.int64())), end)
    except pa.ArrowInvalid:
        pass
    if is_one_of_several:
        # What only looks a bit like a time (`15:00.0`, a day alone) does not contradict an epoch number.
        usable = pc.or_(pc.match_substring_regex(trimmed, _HAS_TIME_OF_DAY), pc.match_substring_regex(trimmed, _NUMBER))
        is_usable = usable.to_numpy(zero_copy_only=False)
        if not is_usable.any():
            nothing = np.zeros(len(column), dtype=np.bool_)
            return ReadTimes(np.zeros(len(column), dtype=np.int64), ~nothing, nothing, lambda _row: "no time of day")
        if not is_usable.all():
            return _of_some_texts(trimmed, is_usable, zone, end)
    for read in (_of_zoned_texts, _of_naive_texts):
        try:
            return read(trimmed, zone, end)
        except pa.ArrowInvalid:
            continue
    return _of_mixed_texts(trimmed.to_pylist(), zone, end)


def _of_some_texts(trimmed: pa.Array, is_usable: BoolArray, zone: ZoneInfo | None, end: int) -> ReadTimes:
    positions = np.flatnonzero(is_usable)
    some = _of_texts(trimmed.take(pa.array(positions, type=pa.int64())), zone, end)
    seconds = np.zeros(len(trimmed), dtype=np.int64)
    is_whole = np.ones(len(trimmed), dtype=np.bool_)
    is_known = np.zeros(len(trimmed), dtype=np.bool_)
    seconds[positions], is_whole[positions], is_known[positions] = some.seconds, some.is_whole, some.is_known
    return ReadTimes(seconds, is_whole, is_known, lambda _row: "no time of day")


def _of_zoned_texts(trimmed: pa.Array, _zone: ZoneInfo | None, end: int) -> ReadTimes:
    ticks = array_of(trimmed.cast(pa.timestamp("us", "UTC")).cast(pa.int64()))
    return _of_ticks(ticks, 10**6, end)


def _of_naive_texts(trimmed: pa.Array, zone: ZoneInfo | None, end: int) -> ReadTimes:
    if zone is None:
        raise pa.ArrowInvalid("each row is refused for itself")
    naive = trimmed.cast(pa.timestamp("us"))
    # Times that a clock change skips or repeats make this fail, and the rows are then read one by one.
    return _of_ticks(array_of(pc.assume_timezone(naive, zone.key).cast(pa.int64())), 10**6, end)


def _of_mixed_texts(texts: list[str], zone: ZoneInfo | None, end: int) -> ReadTimes:
    seconds = np.zeros(len(texts), dtype=np.int64)
    is_whole = np.ones(len(texts), dtype=np.bool_)
    is_known = np.zeros(len(texts), dtype=np.bool_)
    reasons: dict[int, str] = {}
    number = re.compile(_NUMBER)
    for row, text in enumerate(texts):
        if len(text) > _LONGEST_TIME:
            reasons[row] = f"timestamp {shown(text)} is not a time: it has {len(text)} characters"
            continue
        if number.match(text):
            one = _of_one_number(text, end)
            seconds[row], is_whole[row], is_known[row] = one.seconds[0], one.is_whole[0], one.is_known[0]
            if not one.is_known[0]:
                reasons[row] = explain_number(float(text), text, end)
            continue
        try:
            instant = parse_instant(text, zone, is_date_enough=True)
        except DataError as error:
            reasons[row] = _with_what_is_allowed(str(error), end)
            continue
        seconds[row] = int((instant - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // 1)
        is_whole[row] = instant.microsecond == 0
        is_known[row] = seconds[row] < end
        if not is_known[row]:
            reasons[row] = outside(shown(text), end)
    return ReadTimes(seconds, is_whole, is_known, lambda row: reasons[row])


def _of_one_number(text: str, end: int) -> ReadTimes:
    if re.fullmatch(r"[+-]?[0-9]{1,18}|[+-]?[0-8][0-9]{18}", text):
        return _of_integers(np.array([int(text)], dtype=np.int64), end)
    return _of_floats(np.array([float(text)], dtype=np.float64), end)
