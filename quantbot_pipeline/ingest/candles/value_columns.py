"""Prices and volumes of the rows of a candle file: read as float64, and held to the rules of a valid candle."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.arrow_columns import array_of, filled, text_column
from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.faults import BoolArray, Faults
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.checked_candles import FLAG_VOLUME_MISSING, VALUE_COLUMNS
from quantbot_pipeline.ingest.numbers import parse_number

_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NO_VOLUME = text_column(["", "nan", "null", "none", "na", "n/a"])


def float_column(rows: CandleRows, name: str, faults: Faults, *, column_name: str | None = None) -> FloatArray:
    """Return a column of numbers; where there is none, a fault is noted, save for a volume, which is NaN then."""
    column = rows.columns[column_name or name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    blank = math.nan if name == "volume" else 1.0
    if column.null_count and name != "volume":
        faults.add_where(column.is_null().to_numpy(zero_copy_only=False), name, lambda _row: f"{name} is missing")
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _floats_of_texts(filled(column, "nan" if name == "volume" else "1"), name, faults)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{rows.file}: column {name!r} is of type {kind}; numbers or text are allowed")
    numbers: FloatArray = array_of(filled(column.cast(pa.float64(), safe=False), blank))
    return numbers


def _floats_of_texts(column: pa.Array, name: str, faults: Faults) -> FloatArray:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        numbers: FloatArray = array_of(trimmed.cast(pa.float64()))
    except pa.ArrowInvalid:
        pass
    else:
        return numbers
    parsed = np.ones(len(trimmed), dtype=np.float64)
    if name == "volume":
        is_missing = pc.is_in(pc.utf8_lower(trimmed), value_set=_NO_VOLUME.cast(trimmed.type))
        parsed[is_missing.to_numpy(zero_copy_only=False)] = math.nan
        is_number = pc.and_not(pc.match_substring_regex(trimmed, _NUMBER), is_missing)
        others = pc.and_not(pc.invert(is_number), is_missing)
    else:
        is_number = pc.match_substring_regex(trimmed, _NUMBER)
        others = pc.invert(is_number)
    numeric = np.flatnonzero(is_number.to_numpy(zero_copy_only=False))
    try:
        parsed[numeric] = array_of(trimmed.take(pa.array(numeric, type=pa.int64())).cast(pa.float64()))
        odd = np.flatnonzero(others.to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        # Forms that Arrow does not read, such as +1.
        odd = np.flatnonzero(~np.isnan(parsed))
    for row in odd.tolist():
        text = trimmed[row].as_py()
        if not text:
            faults.add(row, name, f"{name} is empty")
            continue
        try:
            parsed[row] = parse_number(text, name)
        except DataError as error:
            faults.add(row, name, str(error))
    return parsed


def settle_quote_volumes(values: dict[str, FloatArray], quote_volumes: FloatArray) -> None:
    """Fill volumes that rows say in what the price is in: that amount, divided by the close, is the token's volume."""
    closes = values["close"]
    # A row without a usable close is refused for it; its volume stays as it came.
    divisors = np.where(closes > 0, closes, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        base_volumes = quote_volumes / divisors
    values["volume"] = np.where(np.isnan(values["volume"]), base_volumes, values["volume"])


def settle_missing_volumes(values: dict[str, FloatArray], faults: Faults) -> npt.NDArray[np.uint8]:
    """Make missing volumes of idle bars 0, refuse those of bars that moved, and return the flags."""
    flags = np.zeros(len(faults.is_bad), dtype=np.uint8)
    is_missing = np.isnan(values["volume"])
    if not is_missing.any():
        return flags
    opens, highs, lows, closes = (values[name] for name in VALUE_COLUMNS[:4])
    is_idle = (opens == highs) & (highs == lows) & (lows == closes)
    values["volume"] = np.where(is_missing & is_idle, 0.0, values["volume"])
    flags[is_missing & is_idle] = FLAG_VOLUME_MISSING
    return flags


def is_distorted(values: dict[str, FloatArray], limit: float) -> BoolArray:
    """Return which candles have a wick that is more than `limit` times as far as their open and close."""
    opens, highs, lows, closes = (values[name] for name in VALUE_COLUMNS[:4])
    with np.errstate(invalid="ignore", over="ignore"):
        found: BoolArray = (highs > limit * np.maximum(opens, closes)) | (lows < np.minimum(opens, closes) / limit)
    return found


def apply_candle_rules(values: dict[str, FloatArray], faults: Faults) -> None:
    """Note every row that is no valid candle: the rules of the engine's contract, in its order."""
    opens, highs, lows, closes, volumes = (values[name] for name in VALUE_COLUMNS)

    def candle(row: int) -> str:
        return ", ".join(f"{name} {values[name][row]!s}" for name in VALUE_COLUMNS)

    for name in VALUE_COLUMNS:
        for row in np.flatnonzero(~np.isfinite(values[name])):
            faults.add(int(row), name, _not_finite(name, float(values[name][row])))
    # Comparisons with NaN are false, so these rules also catch what was named above; the first reason stays.
    rules: tuple[tuple[str, str, BoolArray], ...] = (
        ("low", "0 < low", lows > 0),
        ("low", "low <= min(open, close)", lows <= np.minimum(opens, closes)),
        ("high", "max(open, close) <= high", np.maximum(opens, closes) <= highs),
        ("volume", "volume >= 0", volumes >= 0),
    )
    for column, rule, holds in rules:
        for row in np.flatnonzero(~holds & ~faults.is_bad):
            faults.add(int(row), column, f"the rule {rule} is broken: {candle(int(row))}")


def _not_finite(name: str, value: float) -> str:
    if name == "volume" and math.isnan(value):
        return (
            "volume is missing on a bar that moved: it must be finite, found nan; only where open = high = low = close "
            "a missing one counts as 0"
        )
    return f"{name} must be finite, found {value!s}"
