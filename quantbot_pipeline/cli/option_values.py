"""Values that options of several commands take: how long, since when, and numbers that are none."""

import math
from datetime import UTC, datetime

import typer

_LONGEST_SECONDS = 3650 * 86_400
"""Ten years: far beyond any window, and far from where times overflow."""

LARGEST_ID = 2**63 - 1
"""Of a run, a call and all else that Postgres numbers."""


def read_seconds(text: str, option: str) -> int:
    """Return how long a time such as `90s`, `15m`, `12h` or `2d` is, in seconds; 0 needs no unit.

    Args:
        text: What was written.
        option: Its option, for messages.

    Raises:
        InputError: it is none, has no unit, or is longer than ten years.
    """
    from quantbot_pipeline.errors import InputError
    from quantbot_pipeline.settings import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}, found {text!r}") from None
    if seconds and text.strip().isdigit():
        raise InputError(f"{option}: a unit is needed (s, m, h or d), such as {text.strip()}s or 1h, found {text!r}")
    if seconds > _LONGEST_SECONDS:
        raise InputError(f"{option}: allowed are times up to {_LONGEST_SECONDS // 86_400}d, such as 1h, found {text!r}")
    return seconds


def read_instant(text: str, option: str) -> datetime:
    """Return a date, at its beginning, or a time, in UTC; one without zone is UTC.

    Args:
        text: What was written.
        option: Its option, for messages.

    Raises:
        InputError: it is none.
    """
    from zoneinfo import ZoneInfo

    from quantbot_pipeline.errors import DataError, InputError
    from quantbot_pipeline.ingest.timestamps import parse_instant

    try:
        return parse_instant(text, ZoneInfo("UTC"), is_date_enough=True).astimezone(UTC)
    except DataError as error:
        raise InputError(f"{option}: {error}") from error


def finite(number: float | None) -> float | None:
    """Return a number, as the callback of an option: bounds let NaN pass, which no comparison finds."""
    if number is not None and not math.isfinite(number):
        raise typer.BadParameter(f"found {number}; allowed are finite numbers")
    return number
