"""Numbers as people and programs write them in text: plain decimals and E notation, nothing else."""

import math
import re

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import shown

# Stricter than float(): no "nan", "1_000", or digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


def parse_number(text: str, field: str) -> float:
    """Return the float64 nearest to a decimal text.

    Raises:
        DataError: it is no number or not finite; the message names the field and fits a quarantine row.
    """
    trimmed = text.strip()
    if _NUMBER.fullmatch(trimmed):
        value = float(trimmed)
        if math.isfinite(value):
            return value
        raise DataError(f"{field} {shown(text)} is beyond the range of float64")
    if _NOT_FINITE.fullmatch(trimmed):
        raise DataError(f"{field} {shown(text)} is not finite")
    raise DataError(f"{field} {shown(text)} is not a number; allowed are forms such as 0.00012 or 1.2e-4")
