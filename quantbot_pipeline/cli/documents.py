"""Reading a JSON document that a user names or writes."""

import json
from pathlib import Path
from typing import Any

from quantbot_pipeline.errors import InputError


def read_json_object(path: Path, error_class: type[InputError]) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: The file, UTF-8.
        error_class: What to raise.

    Raises:
        InputError: of class `error_class`: the file can't be read, or holds no usable object; see `parse_json_object`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise error_class(f"{path}: can't be read: {error.strerror}; give a JSON file") from error
    except UnicodeDecodeError as error:
        raise error_class(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if not text.strip():
        raise error_class(f"{path}: the file is empty; allowed is a JSON object, {{…}}")
    return parse_json_object(text, str(path), error_class)


def parse_json_object(text: str, place: str, error_class: type[InputError]) -> dict[str, Any]:
    """Return the JSON object in a text.

    Args:
        text: The text.
        place: Where it is, for messages: a file, an option.
        error_class: What to raise.

    Raises:
        InputError: of class `error_class`: it is not JSON, says a key twice, holds NaN or Infinity, or is no object;
            the message names the place and, where known, line and column.
    """

    def refuse_constant(name: str) -> None:
        raise error_class(f"{place}: found {name}; allowed are finite numbers")

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise error_class(f"{place}: key {name!r} occurs twice in one object; allowed is once")
        return dict(pairs)

    try:
        # Without what follows the last line, a document that breaks off does so in that line.
        document = json.loads(text.rstrip(), parse_constant=refuse_constant, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise error_class(f"{place}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise error_class(f"{place}: nested too deep to be read as JSON") from error
    except ValueError as error:
        # Such as a number of more digits than Python turns into an int.
        raise error_class(f"{place}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise error_class(f"{place}: found a JSON {type(document).__name__}; allowed is an object, {{…}}")
    return document
