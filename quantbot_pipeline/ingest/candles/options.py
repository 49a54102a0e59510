"""What a person says about a candle file."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CandleReadOptions:
    """What a file does not say about its rows, and which rules apply to them.

    Attributes:
        chain: Chain of all rows, where no column says it.
        token: Token address of all rows, likewise.
        interval: Interval of all rows, likewise; a key of `INTERVAL_SECONDS`. It is checked against the steps between
            the rows.
        timezone: IANA zone of times that state none; without it such rows are refused.
        now: The present, with a zone: rows later than a day after it are refused. Without it, those from 2100 on.
        wick_limit: Candles whose high is more than this many times max(open, close), or whose low is less than
            min(open, close) divided by it, are flagged as distorted; more than 1. None flags none.
    """

    chain: str | None = None
    token: str | None = None
    interval: str | None = None
    timezone: str | None = None
    now: datetime | None = None
    wick_limit: float | None = None
