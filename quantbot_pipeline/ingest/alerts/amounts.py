"""Prices and market caps as people, bots and spreadsheets write them: `$0.0012`, `71.75K`, `1,234,567`, `0.0₅2645`."""

import re

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import shown

LEAST_PLAIN_MARKET_CAP = 1000.0
"""A market cap below this that states no unit has lost it: `3.2` stood beside `3200000.0` for one call."""

_WITH_UNIT = re.compile(r"\$?\s?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s?([KMBT])", re.IGNORECASE)
_WITH_COMMAS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
# Trading sites write 0.000002645 as 0.0₅2645 or 0.0{5}2645: the small figure counts the zeros.
_COUNTED_ZEROS = re.compile(r"0\.0(?:([₀-₉]{1,2})|\{([0-9]{1,2})\})([0-9]{1,20})")
_LONGEST = 64


def parse_amount(text: str, field: str) -> tuple[float, bool]:
    """Return an amount, and whether it states a unit (K, M, B or T).

    Raises:
        DataError: it is no amount; the message names the field and fits a quarantine row.
    """
    trimmed = text.strip()
    if len(trimmed) <= _LONGEST:
        unit = _WITH_UNIT.fullmatch(trimmed)
        if unit:
            # By way of text, so that 71.75K is the float64 nearest to 71750.
            exponent = {"K": 3, "M": 6, "B": 9, "T": 12}[unit[2].upper()]
            return parse_number(f"{unit[1]}e{exponent}", field), True
        plain = trimmed.removeprefix("$").lstrip()
        zeros = _COUNTED_ZEROS.fullmatch(plain)
        if zeros:
            count = int(zeros[1].translate(_SUBSCRIPTS) if zeros[1] else zeros[2])
            return parse_number(f"0.{'0' * count}{zeros[3]}", field), False
        if _WITH_COMMAS.fullmatch(plain):
            return parse_number(plain.replace(",", ""), field), False
        if plain != trimmed:
            return parse_number(plain, field), False
    try:
        return parse_number(text, field), False
    except DataError as error:
        if "is not a number" in str(error):
            raise DataError(
                f"{field} {shown(text)} is not a number; allowed are forms such as 0.00012, 1.2e-4, $1,200 or 71.75K"
            ) from None
        raise


def known_market_cap(amount: float, *, has_unit: bool) -> tuple[float | None, str | None]:
    """Return a market cap, or None with a note if its unit was lost."""
    if not has_unit and 0 < amount < LEAST_PLAIN_MARKET_CAP:
        return None, f"market cap {amount!r} is below {LEAST_PLAIN_MARKET_CAP:g} and states no unit: taken for unknown"
    return amount, None
