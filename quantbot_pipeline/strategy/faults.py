"""Turn what validation found into lines that name path, what was found and what is allowed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from quantbot_pipeline.strategy.values import Fault, Number, Text, Whole, describe


def render_path(location: Iterable[str | int]) -> str:
    """Return `exits.targets[2].size` for the location of a validation error; union tags are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not _is_tag(part):
            path += f".{part}" if path else part
    return path


def _is_tag(part: str) -> bool:
    return part.startswith("<") and part.endswith(">")


def _part_of(location: Sequence[str | int], parts: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """Return the model that the last key of a location stands in.

    Args:
        location: Location of a key; its last element is the key itself.
        parts: The model behind each tag and each section name; "" is the document.
    """
    model = parts[""]
    for part in location[:-1]:
        if isinstance(part, str):
            model = parts.get(part, model)
    return model


def _allowed_keys(model: type[BaseModel]) -> str:
    return ", ".join(info.alias or name for name, info in model.model_fields.items())


def _allowed_value(model: type[BaseModel], key: str | int) -> str:
    """Return what may stand under a key, as far as the field itself says it."""
    for name, info in model.model_fields.items():
        if key == (info.alias or name):
            for mark in info.metadata:
                if isinstance(mark, Number | Whole | Text):
                    return mark.allowed
    return "a value"


def read_faults(errors: Iterable[ErrorDetails], parts: Mapping[str, type[BaseModel]]) -> list[Fault]:
    """Return the faults of a refused document, each with its full path.

    Args:
        errors: What pydantic found.
        parts: The model behind each tag and each section name; "" is the document.
    """
    return [fault for error in errors for fault in _read(error, parts)]


def _read(error: ErrorDetails, parts: Mapping[str, type[BaseModel]]) -> Iterator[Fault]:
    location = error["loc"]
    path = render_path(location)
    context: dict[str, Any] = error.get("ctx", {})
    found = describe(error["input"])
    kind = error["type"]
    if kind == "faults":
        for fault in context["faults"]:
            joined = f"{path}{fault.path}" if path else fault.path.removeprefix(".")
            yield Fault(joined, fault.found, fault.allowed)
    elif kind == "missing":
        allowed = _allowed_value(_part_of(location, parts), location[-1])
        yield Fault(path, "nothing (it is required)", allowed)
    elif kind == "extra_forbidden":
        yield Fault(path, "an unknown key", _allowed_keys(_part_of(location, parts)))
    elif kind == "literal_error":
        yield Fault(path, found, str(context["expected"]))
    elif kind == "tag":
        yield Fault(path, found, error["msg"])
    elif kind == "tag_type":
        document = error["input"]
        if isinstance(document, Mapping):
            path = f"{path}.type"
            found = describe(document["type"]) if "type" in document else "nothing (it is required)"
        yield Fault(path, found, error["msg"])
    elif kind in {"model_type", "model_attributes_type", "dict_type", "mapping_type"}:
        yield Fault(path, found, "an object")
    elif kind in {"tuple_type", "list_type"}:
        yield Fault(path, found, "a list")
    elif kind == "bool_type":
        yield Fault(path, found, "true or false")
    else:
        yield Fault(path, found, error["msg"])
