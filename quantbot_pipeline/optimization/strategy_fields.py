"""What a strategy's fields take, by path: read from the published schema of the strategy model.

The schema knows names, types and bounds of single fields. What ties fields together, such as targets that
ascend, only the model itself knows; `valid_points.py` asks it with whole documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.parameter_paths import PathStep, parse_path
from quantbot_pipeline.strategy.model import strategy_json_schema

_Schema = Mapping[str, Any]

_NUMBER_TYPES = frozenset({"number", "integer"})

_HUGE = 2**53 - 1


@cache
def _strategy_schema() -> dict[str, Any]:
    return strategy_json_schema()


def fields_at(path: str) -> list[_Schema]:
    """Return the schemas that a path may lead to; several where a section has several types.

    Raises:
        SearchSpaceError: no strategy has such a field; the message names how far the path leads and which
            fields there are.
    """
    return list(_fields_at(path))


@cache
def _fields_at(path: str) -> tuple[_Schema, ...]:
    nodes: list[_Schema] = list(_alternatives(_strategy_schema()))
    followed = ""
    for step in parse_path(path):
        found = [
            alternative for node in nodes for child in _children(node, step) for alternative in _alternatives(child)
        ]
        if not found:
            raise SearchSpaceError(f"path {path!r}: {_no_such_step(nodes, step, followed)}")
        followed += f"[{step}]" if isinstance(step, int) else f".{step}" if followed else step
        nodes = found
    return tuple(nodes)


def kind_fault(path: str, kind: object) -> str | None:
    """Return what a section of a kind holds if the field at a path is none of it, else None.

    Args:
        path: A field inside a section, such as `entry.drop`.
        kind: The `type` of that section, such as `immediate`.

    Raises:
        SearchSpaceError: no strategy has such a field.
    """
    section, _, field = path.rpartition(".")
    fields_at(path)
    own = [node for node in _fields_at(section) if node.get("properties", {}).get("type", {}).get("const") == kind]
    if not own or any(True for node in own for _ in _children(node, parse_path(field)[0])):
        return None
    names = ", ".join(dict.fromkeys(name for node in own for name in node.get("properties", {})))
    return f"{section!r} of the template is of type {kind!r}, which has no field {field!r}; allowed are {names}"


def number_fault(path: str, value: float) -> str | None:
    """Return what numbers the field at a path takes if `value` is none of them, else None.

    Raises:
        SearchSpaceError: no strategy has such a field.
    """
    fields = fields_at(path)
    # A field without a type takes anything as far as the schema knows.
    if any("type" not in field and "const" not in field for field in fields):
        return None
    numeric = [field for field in fields if field.get("type") in _NUMBER_TYPES]
    if not numeric:
        types = sorted({str(field.get("type")) for field in fields} - {"null"})
        values = [str(value) for field in fields for value in field.get("enum", ())]
        return f"no number: it holds {' or '.join(types)}" + (f", one of {', '.join(values)}" if values else "")
    if any(_takes_number(field, value) for field in numeric):
        return None
    return " or ".join(dict.fromkeys(_describe_numbers(field) for field in numeric))


def _takes_number(field: _Schema, value: float) -> bool:
    return (
        (field["type"] == "number" or isinstance(value, int))
        and value >= field.get("minimum", value)
        and value <= field.get("maximum", value)
        and ("exclusiveMinimum" not in field or value > field["exclusiveMinimum"])
        and ("exclusiveMaximum" not in field or value < field["exclusiveMaximum"])
    )


def _describe_numbers(field: _Schema) -> str:
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    # A bound that no one reaches, of what a float holds exactly, would only puzzle.
    bounds = [f"{text} {field[key]:g}" for key, text in words.items() if abs(field.get(key, _HUGE)) < _HUGE]
    kind = "a whole number (type int)" if field["type"] == "integer" else "a number"
    return " ".join([kind, " and ".join(bounds)]).rstrip()


def _alternatives(node: _Schema) -> Iterator[_Schema]:
    """Yield the node with references followed and unions taken apart."""
    if "$ref" in node:
        yield from _alternatives(_strategy_schema()["$defs"][node["$ref"].rpartition("/")[2]])
    elif branches := node.get("anyOf") or node.get("oneOf"):
        for branch in branches:
            yield from _alternatives(branch)
    else:
        yield node


def _children(node: _Schema, step: PathStep) -> Iterator[_Schema]:
    if isinstance(step, int):
        if node.get("type") == "array":
            yield node.get("items", {})
        return
    if step in node.get("properties", {}):
        yield node["properties"][step]
    elif node.get("type") == "object" and node.get("additionalProperties", True) is not False:
        # An object of free keys, such as the parameters of an indicator.
        free = node.get("additionalProperties", {})
        yield free if isinstance(free, Mapping) else {}


def _no_such_step(nodes: Sequence[_Schema], step: PathStep, followed: str) -> str:
    where = repr(followed) if followed else "a strategy"
    if isinstance(step, int):
        return f"{where} is not a list, so there is no item [{step}]"
    names = dict.fromkeys(name for node in nodes for name in node.get("properties", {}))
    if not names:
        return f"{where} is not a section, so it has no field {step!r}"
    return f"{where} has no field {step!r}; allowed are {', '.join(names)}"
