"""Instants out of text and numbers: which unit, which zone, and whether the result can be true.

Everything becomes UTC. Epoch numbers are seconds, milliseconds, microseconds or nanoseconds, told apart by magnitude:
read in the right unit a value lies between 2009 and 2100, and no value does so in two units. Digits beyond a
microsecond are cut off.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import shown

EARLIEST_SECOND = 1_230_768_000
"""2009-01-01T00:00:00Z: before the first block of the first chain."""
END_SECOND = 4_102_444_800
"""2100-01-01T00:00:00Z, exclusive."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ALLOWED = "allowed are epoch seconds, ms, us or ns from 2009 to 2099, or ISO 8601 with Z or an offset"
_TICKS = (1, 10**3, 10**6, 10**9)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_HAS_TIME_OF_DAY = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}")


def zone_named(timezone: str) -> ZoneInfo:
    """Return the time zone of an IANA name.

    Raises:
        DataError: there is no such zone.
    """
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"time zone {shown(timezone)} is unknown: give an IANA name such as UTC or Europe/Berlin"
        ) from error


def has_time_of_day(text: str) -> bool:
    """Return whether ISO 8601 text says more than a date."""
    return _HAS_TIME_OF_DAY.match(text) is not None


def _instant_of_number(value: Decimal) -> datetime:
    for ticks in _TICKS:
        second = value / ticks
        if EARLIEST_SECOND <= second < END_SECOND:
            return EPOCH + timedelta(microseconds=int(second * 1_000_000))
    raise DataError(f"timestamp {str(value)[:40]} lies outside 2009 to 2099 in seconds, ms, us and ns; {_ALLOWED}")


def _in_zone(naive: datetime, zone: ZoneInfo, text: str) -> datetime:
    earlier = naive.replace(tzinfo=zone, fold=0)
    later = naive.replace(tzinfo=zone, fold=1)
    instant = earlier.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != naive:
        raise DataError(
            f"timestamp {shown(text)} does not exist in {zone.key}: clocks were set forward; give it with an offset"
        )
    if earlier.utcoffset() != later.utcoffset():
        raise DataError(
            f"timestamp {shown(text)} happens twice in {zone.key}: clocks were set back; give it with an offset"
        )
    return instant


def parse_instant(value: str | int | float, zone: ZoneInfo | None = None, *, is_date_enough: bool = False) -> datetime:
    """Return the instant that a text or number stands for, UTC-aware, microseconds kept.

    Args:
        value: Epoch seconds, milliseconds, microseconds or nanoseconds (as number or text), or ISO 8601 text.
        zone: Zone of texts that state none; None refuses them.
        is_date_enough: Whether a date without a time of day means its midnight; otherwise it is refused.

    Raises:
        DataError: not a time, no zone, or outside 2009 to 2099; the message fits a quarantine row.
    """
    text = value.strip() if isinstance(value, str) else repr(value)
    if not text:
        raise DataError("timestamp is empty")
    if _NUMBER.fullmatch(text):
        return _instant_of_number(Decimal(text))
    if not isinstance(value, str):
        raise DataError(f"timestamp {shown(value)} is not finite; {_ALLOWED}")
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(f"timestamp {shown(value)} is not a time; {_ALLOWED}") from None
    if not is_date_enough and not has_time_of_day(text):
        raise DataError(f"timestamp {shown(value)} has no time of day; {_ALLOWED}")
    try:
        if parsed.tzinfo is not None:
            instant = parsed.astimezone(UTC)
        elif zone is not None:
            instant = _in_zone(parsed, zone, text)
        else:
            raise DataError(
                f"timestamp {shown(value)} states no zone: end it with Z or an offset, "
                "or name the file's zone with --timezone"
            )
    except OverflowError:
        raise DataError(f"timestamp {shown(value)} lies outside 2009 to 2099") from None
    if not EARLIEST_SECOND <= (instant - EPOCH).total_seconds() < END_SECOND:
        raise DataError(f"timestamp {shown(value)} lies outside 2009 to 2099")
    return instant
