"""Texts, and documents as JSON text, that both databases take.

JSON has no NaN and no infinities, and Postgres holds neither U+0000 nor lone surrogates. Such values come
from dirty input files, whose rows must be kept, so they are written in a form that can still be read:
`NaN` as the string "NaN", infinities as "Infinity" and "-Infinity", U+0000 as U+2400 (SYMBOL FOR NULL), a
lone surrogate as U+FFFD (REPLACEMENT CHARACTER).
"""

import json
import math
from collections.abc import Mapping
from typing import Any

_SURROGATES_TO_REPLACEMENT = dict.fromkeys(range(55296, 57344), "�")
_UNSTORABLE_TO_VISIBLE = {0: "\u2400", **_SURROGATES_TO_REPLACEMENT}


def storable_text(text: str) -> str:
    """Return text without the characters that Postgres refuses; other text is returned as it is."""
    if "\x00" not in text and text.isascii():
        return text
    return text.translate(_UNSTORABLE_TO_VISIBLE)


def storable_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a query with their texts, also those in lists, as they are stored.

    What comes from a command line may hold bytes that are no text; stored is none like it, so nothing is found.
    """
    return {name: _storable_value(value) for name, value in parameters.items()}


def _storable_value(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list | tuple):
        return [_storable_value(item) for item in value]
    return value


def to_json_text(document: Any) -> str:
    """Return a document as JSON text with its keys in their order.

    Raises:
        TypeError: it holds something that JSON has no form for.
    """
    try:
        text = _dump(document)
    except (ValueError, TypeError):
        # NaN or infinity somewhere inside, or a read-only mapping: rare, so only then the slow walk.
        return _dump(_storable(document))
    return text if text.isascii() and "\\u0000" not in text else _dump(_storable(document))


def _dump(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
