"""Value types of the strategy model: exact numbers, whole numbers, text, and how a fault is reported.

A strategy document comes from people, files and search programs, so nothing is converted silently: `true`
is not 1, `"0.3"` is not 0.3, NaN and infinities are refused. A fault carries what was found and what is
allowed; `quantbot_pipeline.strategy.faults` turns it into text.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that a name has none of: they move the cursor, turn the text around, or are not seen."""

_VISIBLE_PATTERN = (
    r"^[^\u0000-\u001f\u007f-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]*$"
)
"""The same as a regular expression that every validator knows, but for some beyond U+FFFF."""

MAX_WHOLE = 2**53
"""Largest whole number of a document: above it a float64 no longer holds every whole number."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong below the place where it was noticed.

    Attributes:
        path: Path from that place, such as `[2].size`, `.period`, or empty for the place itself.
        found: What the document says, as text.
        allowed: What may stand there, as text.
    """

    path: str
    found: str
    allowed: str


def describe(value: object) -> str:
    """Return a short text for a value of a document, at most 80 characters."""
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def faults_error(faults: Sequence[Fault]) -> PydanticCustomError:
    """Return the validation error that carries `faults`; raise it inside a validator."""
    text = "; ".join(f"{fault.path}: found {fault.found}, allowed {fault.allowed}" for fault in faults)
    return PydanticCustomError("faults", "{text}", {"text": text, "faults": list(faults)})


def _interval(gt: float | None, ge: float | None, lt: float | None, le: float | None) -> str:
    lower = f"> {gt:g}" if gt is not None else f">= {ge:g}" if ge is not None else ""
    upper = f"< {lt:g}" if lt is not None else f"<= {le:g}" if le is not None else ""
    return " and ".join(part for part in (lower, upper) if part)


@dataclass(frozen=True, slots=True)
class Number:
    """Marks a float field: finite, no bool, no text, within bounds; -0.0 becomes 0.0."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    @property
    def allowed(self) -> str:
        """What may stand here, as text."""
        interval = _interval(self.gt, self.ge, self.lt, self.le)
        return f"a number {interval}" if interval else "a finite number"

    def check(self, value: object) -> float:
        """Return the number, or raise the fault."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise faults_error([Fault("", describe(value), self.allowed)])
        try:
            number = float(value) + 0.0
        except OverflowError:
            number = math.inf
        if (
            not math.isfinite(number)
            or (self.gt is not None and not number > self.gt)
            or (self.ge is not None and not number >= self.ge)
            or (self.lt is not None and not number < self.lt)
            or (self.le is not None and not number <= self.le)
        ):
            raise faults_error([Fault("", describe(value), self.allowed)])
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(float)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.json_schema()

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the field."""
        bounds = {
            "exclusiveMinimum": self.gt,
            "minimum": self.ge,
            "exclusiveMaximum": self.lt,
            "maximum": self.le,
        }
        return {"type": "number", **{key: bound for key, bound in bounds.items() if bound is not None}}


@dataclass(frozen=True, slots=True)
class Whole:
    """Marks an int field: a whole number (3600 and 3600.0 are the same), within bounds."""

    ge: int = 0
    le: int = MAX_WHOLE

    @property
    def allowed(self) -> str:
        """What may stand here, as text."""
        upper = "" if self.le == MAX_WHOLE else f" and <= {self.le}"
        return f"a whole number >= {self.ge}{upper}"

    def check(self, value: object) -> int:
        """Return the whole number, or raise the fault."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or (isinstance(value, float) and not value.is_integer())
            or not self.ge <= value <= self.le
        ):
            raise faults_error([Fault("", describe(value), self.allowed)])
        return int(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(int)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.json_schema()

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the field (its `integer` takes 3600.0 too)."""
        return {"type": "integer", "minimum": self.ge, "maximum": self.le}


@dataclass(frozen=True, slots=True)
class Text:
    """Marks a string field of `min_length … max_length` characters, one line of visible ones where it is a name."""

    min_length: int = 0
    max_length: int = 10_000
    is_name: bool = False

    @property
    def allowed(self) -> str:
        """What may stand here, as text."""
        text = f"a text of {self.min_length} to {self.max_length} characters"
        return f"{text}, without control and format characters" if self.is_name else text

    def check(self, value: object) -> str:
        """Return the text, or raise the fault."""
        if not isinstance(value, str) or not self.min_length <= len(value) <= self.max_length:
            raise faults_error([Fault("", describe(value), self.allowed)])
        if self.is_name and any(unicodedata.category(character) in _INVISIBLE for character in value):
            raise faults_error([Fault("", ascii(value), self.allowed)])
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.check, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        lengths = {"type": "string", "minLength": self.min_length, "maxLength": self.max_length}
        return {**lengths, "pattern": _VISIBLE_PATTERN} if self.is_name else lengths
