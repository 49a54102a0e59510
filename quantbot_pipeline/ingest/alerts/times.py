"""The instant of a row whose columns tell it in several ways: they must agree, and the most precise one counts."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.records import RowRefusal
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.timestamps import has_time_of_day, parse_instant

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK = re.compile(r"([0-9]{1,2})(?::([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,6})?))?)?")
_SLASHED = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})[ T]+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?")
_SECONDS = re.compile(r":[0-9]{2}:[0-9]{2}(\.[0-9]+)?|T[0-9]{6}")
_UNITS = (
    (10**14, timedelta(microseconds=1)),
    (10**11, timedelta(milliseconds=1)),
)
"""Units finer than a second of epoch numbers, by the least number that has them."""
_WEST = timedelta(hours=-12)
_EAST = timedelta(hours=14)
_ZONE_STEP = timedelta(minutes=15)
_LONGEST = 64


class TimeCell(NamedTuple):
    """One cell that tells a time.

    Attributes:
        column: Name of its column as written.
        value: What it holds; not empty.
        role: What the column is for: a key of `TIME_ROLES`.
    """

    column: str
    value: Any
    role: str


TIME_ROLES = {
    "timestamp": "a whole time, or a date",
    "clock": "a time of day, beside a date",
    "timestamp_mdy": "a whole time as month/day/year",
    "timestamp_dmy": "a whole time as day/month/year",
}
"""What a time column can hold, by field name."""


class _Reading(NamedTuple):
    """What one cell says: an instant, or a wall clock of an unnamed zone; and how finely."""

    cell: TimeCell
    instant: datetime | None
    wall: datetime | None
    resolution: timedelta


def agreed_instant(cells: Sequence[TimeCell], zone: ZoneInfo | None) -> datetime:
    """Return the instant that all cells tell.

    Epoch numbers and times with an offset say an instant; a time without one says it in `zone`. Beside a cell that
    says an instant its zone is whatever the difference says, which must be a possible one (whole quarters of an hour
    from -12 to +14 hours): an export shows the clock of the machine that made it. Of several
    instants the finest counts, of equally fine ones the first.

    Args:
        cells: The row's time cells that are not empty, in the order of its columns.
        zone: Zone of times that state none.

    Raises:
        RowRefusal: a cell is no time, nothing tells the zone or the date, or cells disagree.
    """
    if not cells:
        raise RowRefusal("timestamp", "timestamp is empty")
    readings, dates, clocks = [], [], []
    for cell in cells:
        one = _read(cell)
        if isinstance(one, _Reading):
            readings.append(one)
        elif isinstance(one, date):
            dates.append((cell, one))
        else:
            clocks.append((cell, one))
    if dates and clocks:
        readings.append(_joined(dates[0], clocks[0]))
    elif not readings:
        raise _lone_part(dates[0][0] if dates else clocks[0][0])
    instants = [one for one in readings if one.instant is not None]
    if not instants:
        readings = [_placed(one, zone) for one in readings]
        instants = readings
    best = min(instants, key=lambda one: one.resolution)
    for one in readings:
        _require_agreement(best, one)
    if not clocks:
        _require_days(best, dates)
    assert best.instant is not None  # noqa: S101 - every entry of `instants` has one
    return best.instant


def _read(cell: TimeCell) -> "_Reading | date | str":
    value = cell.value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        kinds = {dict: "an object", list: "a list", bool: "a truth value"}
        raise RowRefusal(
            "timestamp", f"{cell.column} is {kinds.get(type(value), 'no text')}; a number or a text is allowed"
        )
    text = value.strip() if isinstance(value, str) else repr(value)
    if len(text) > _LONGEST:
        raise RowRefusal("timestamp", f"{cell.column} {shown(text)} is not a time: it has {len(text)} characters")
    if cell.role == "clock" and _CLOCK.fullmatch(text):
        return text
    if _NUMBER.fullmatch(text) or not isinstance(value, str):
        return _Reading(cell, _instant(cell, value), None, _epoch_resolution(text))
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise RowRefusal("timestamp", f"{cell.column} {shown(text)} is not a date") from None
    if match := _SLASHED.fullmatch(text):
        text = _unslashed(cell, match)
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        # The reason comes from the one place that knows what is allowed.
        return _Reading(cell, _instant(cell, value), None, timedelta(seconds=1))
    resolution = _text_resolution(text)
    if wall.tzinfo is not None or not has_time_of_day(text):
        return _Reading(cell, _instant(cell, text), None, resolution)
    return _Reading(cell, None, wall, resolution)


def _instant(cell: TimeCell, value: str | float, zone: ZoneInfo | None = None) -> datetime:
    try:
        return parse_instant(value, zone)
    except DataError as error:
        reason = str(error)
        if cell.column.casefold() != "timestamp":
            reason = f"{cell.column}: {reason}"
        raise RowRefusal("timestamp", reason) from None


def _unslashed(cell: TimeCell, match: re.Match[str]) -> str:
    if cell.role not in ("timestamp_mdy", "timestamp_dmy"):
        raise RowRefusal(
            "timestamp",
            f"{cell.column} {shown(match[0])} does not tell the day from the month; "
            "map its column as timestamp_mdy or timestamp_dmy",
        )
    month, day = (match[1], match[2]) if cell.role == "timestamp_mdy" else (match[2], match[1])
    return f"{match[3]}-{month:0>2}-{day:0>2}T{match[4]:0>2}:{match[5]}" + (f":{match[6]}" if match[6] else "")


def _epoch_resolution(text: str) -> timedelta:
    if "e" in text.lower():
        return timedelta(seconds=1)
    whole, _, fraction = text.partition(".")
    digits = len(fraction.rstrip("0"))
    amount = abs(int(whole or "0"))
    unit = next((unit for least, unit in _UNITS if amount >= least), timedelta(seconds=1))
    return max(unit / (1, 10, 100, 1000, 10_000, 100_000, 1_000_000)[min(digits, 6)], timedelta(microseconds=1))


def _text_resolution(text: str) -> timedelta:
    match = _SECONDS.search(text)
    if match is None:
        return timedelta(minutes=1)
    if not match[1]:
        return timedelta(seconds=1)
    return timedelta(microseconds=(100_000, 10_000, 1000, 100, 10, 1)[min(len(match[1]) - 2, 5)])


def _joined(dated: tuple[TimeCell, date], clocked: tuple[TimeCell, str]) -> _Reading:
    match = _CLOCK.fullmatch(clocked[1])
    assert match is not None  # noqa: S101 - it was matched to become a clock
    cell = TimeCell(f"{dated[0].column} + {clocked[0].column}", f"{dated[1]} {clocked[1]}", "timestamp")
    seconds = match[3] or "00"
    text = f"{dated[1]}T{match[1]:0>2}:{match[2] or '00'}:{seconds}"
    try:
        wall = datetime.fromisoformat(text)
    except ValueError:
        raise RowRefusal("timestamp", f"{cell.column} {shown(cell.value)} is not a time") from None
    resolution = _text_resolution(text) if match[3] else timedelta(minutes=1) if match[2] else timedelta(hours=1)
    return _Reading(cell, None, wall, resolution)


def _placed(one: _Reading, zone: ZoneInfo | None) -> _Reading:
    assert one.wall is not None  # noqa: S101 - only readings without an instant come here
    return one._replace(instant=_instant(one.cell, one.wall.isoformat(sep=" "), zone))


def _lone_part(cell: TimeCell) -> RowRefusal:
    if cell.role == "clock":
        return RowRefusal("timestamp", f"{cell.column} {shown(cell.value)} is a time of day; nothing tells the date")
    return RowRefusal(
        "timestamp",
        f"{cell.column} {shown(cell.value)} has no time of day; a column such as hour or time must tell it",
    )


def _require_agreement(best: _Reading, one: _Reading) -> None:
    assert best.instant is not None  # noqa: S101 - the best reading is an instant
    tolerance = max(best.resolution, one.resolution)
    if one.instant is not None:
        if abs(one.instant - best.instant) >= tolerance:
            raise _disagreement(best, one)
        return
    assert one.wall is not None  # noqa: S101 - a reading has an instant or a wall clock
    shift = one.wall - best.instant.replace(tzinfo=None)
    off_step = shift % _ZONE_STEP
    is_a_zone = min(off_step, _ZONE_STEP - off_step) < tolerance and _WEST <= shift <= _EAST + tolerance
    if not is_a_zone:
        raise _disagreement(best, one)


def _require_days(best: _Reading, dates: Sequence[tuple[TimeCell, date]]) -> None:
    assert best.instant is not None  # noqa: S101 - the best reading is an instant
    for cell, day in dates:
        if abs((day - best.instant.date()).days) > 1:
            raise RowRefusal(
                "timestamp",
                f"the times of the row disagree: {best.cell.column} {shown(best.cell.value)} and {cell.column} "
                f"{shown(cell.value)}",
            )


def _disagreement(best: _Reading, one: _Reading) -> RowRefusal:
    assert best.instant is not None  # noqa: S101 - the best reading is an instant
    return RowRefusal(
        "timestamp",
        f"the times of the row disagree: {best.cell.column} {shown(best.cell.value)} is "
        f"{best.instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, {one.cell.column} says {shown(one.cell.value)}",
    )
