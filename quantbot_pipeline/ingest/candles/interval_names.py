"""Spellings of an interval."""

import re

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS

NAME_OF_SECONDS = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
"""Interval names by length in seconds."""

_SECONDS_OF_UNIT = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
_TEXT = re.compile(r"([0-9]{0,5})[ _]?([A-Za-z]{1,7})")


def find_interval(text: str) -> str | None:
    """Return the allowed interval that a text names, such as `5m`, `1H`, `15min` or `hour`; None if there is none.

    A capital `M` is a month to some and a minute to others, so it is neither.
    """
    if text in INTERVAL_SECONDS:
        return text
    found = _TEXT.fullmatch(text) if len(text) <= 16 else None
    if found is None or found[2] == "M":
        return None
    unit = _SECONDS_OF_UNIT.get(found[2].lower())
    return None if unit is None else NAME_OF_SECONDS.get(int(found[1] or 1) * unit)
