"""Token-months: the unit in which candles and simulations are partitioned."""

import re
from datetime import UTC, datetime
from typing import NamedTuple, Self

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey, canonical_token

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class TokenMonth(NamedTuple):
    """One token in one UTC calendar month, `YYYY-MM`."""

    token: TokenKey
    month: str

    @classmethod
    def from_parts(cls, chain: str, address: str, month: str) -> Self:
        """Return the token-month of a canonical chain and address."""
        return cls(TokenKey(chain, address), month)

    @property
    def start(self) -> datetime:
        """First instant of the month, UTC."""
        return month_start(self.month)

    @property
    def end(self) -> datetime:
        """First instant after the month, UTC."""
        return month_start(next_month(self.month))


def month_start(month: str) -> datetime:
    """Return the first instant of a month `YYYY-MM`, UTC.

    Raises:
        InputError: `month` is not of that form.
    """
    if not _MONTH.fullmatch(month):
        raise InputError(f"month {month!r} is not of the form YYYY-MM, such as 2025-03")
    return datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)


def next_month(month: str) -> str:
    """Return the month after `month`, both `YYYY-MM`."""
    start = month_start(month)
    return f"{start.year + start.month // 12:04d}-{start.month % 12 + 1:02d}"


def previous_month(month: str) -> str:
    """Return the month before `month`, both `YYYY-MM`."""
    start = month_start(month)
    return f"{start.year - (start.month == 1):04d}-{(start.month - 2) % 12 + 1:02d}"


def deciding_months(key: TokenMonth) -> tuple[TokenMonth, ...]:
    """Return the months whose candles decide trades of a month's calls.

    Indicators look back into the month before, and trades reach into the month after; further ones are rare.
    """
    months = (previous_month(key.month), key.month, next_month(key.month))
    return tuple(TokenMonth(key.token, month) for month in months)


def month_of(instant: datetime) -> str:
    """Return the UTC month `YYYY-MM` of a tz-aware instant."""
    return instant.astimezone(UTC).strftime("%Y-%m")


def format_token(token: TokenKey) -> str:
    """Return the text form `chain:address` of a token: its Dagster partition key."""
    return f"{token.chain}:{token.address}"


def parse_token(text: str) -> TokenKey:
    """Return the token that `chain:address` names, in canonical form.

    Raises:
        InputError: the form is wrong, or the address is not one of its chain.
    """
    chain, colon, address = text.partition(":")
    if not colon:
        raise InputError(f"token {text!r} is not of the form chain:address, such as binance:BONK_USDT")
    return canonical_token(chain, address)
