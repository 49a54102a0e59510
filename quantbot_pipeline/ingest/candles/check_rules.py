"""What the rows of a candle file are held to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class CheckRules:
    """What the rows of a file are held to.

    Attributes:
        given: Chain, token address and interval that a person told, by column name; None for what was not told.
        hints: What the file's name says of them; it counts where neither a column nor a person says anything.
        zone: Zone of times that state none; None refuses them.
        now: The present; rows later than a day after it are refused. Without it, those from 2100 on.
        wick_limit: See `CandleReadOptions`.
    """

    given: Mapping[str, str | None] = field(default_factory=dict)
    hints: Mapping[str, str | None] = field(default_factory=dict)
    zone: ZoneInfo | None = None
    now: datetime | None = None
    wick_limit: float | None = None

    def told(self, name: str) -> str | None:
        """Return what a person, else the file's name says of an identity column."""
        return self.given.get(name) or self.hints.get(name)
