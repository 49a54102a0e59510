"""Paths into strategy documents, such as `exits.targets[0].multiple`: parse, read, set and remove.

A path is field names joined by dots; `[k]` after a name is the item k of a list, from 0. Nothing here
knows what a strategy is: the strategy model judges the document that comes out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from quantbot_pipeline.errors import SearchSpaceError

PathStep = str | int

_PATH = re.compile(r"[a-z_][a-z0-9_]*(\[\d+\])*(\.[a-z_][a-z0-9_]*(\[\d+\])*)*", re.ASCII)
_STEP = re.compile(r"([a-z_][a-z0-9_]*)|\[(\d+)\]", re.ASCII)


def parse_path(path: str) -> tuple[PathStep, ...]:
    """Return the steps of a path: field names (str) and list positions (int).

    Raises:
        SearchSpaceError: the text is not a path.
    """
    if _PATH.fullmatch(path) is None:
        raise SearchSpaceError(
            f"path {path!r} can't be read; allowed are field names joined by dots, with [k] for item k of a "
            "list, such as 'exits.targets[0].multiple'"
        )
    return tuple(name or int(position) for name, position in _STEP.findall(path))


def set_at_path(document: dict[str, Any], path: str, value: object) -> None:
    """Set the field at `path` in place; None switches the field off.

    Sections that are missing or null on the way are created. None removes the field, and a section
    that is left empty by this is set to null: `exits.stop_loss.initial = None` means no stop at all.

    Raises:
        SearchSpaceError: the path leads through something that is neither a section nor a list, or to a
            list item that does not exist; the message names how far the path could be followed.
    """
    steps = parse_path(path)
    parents: list[tuple[Any, PathStep]] = []
    container: Any = document
    followed = ""
    for position, step in enumerate(steps):
        _check_step(container, step, path=path, followed=followed)
        followed += f"[{step}]" if isinstance(step, int) else f".{step}" if followed else step
        parents.append((container, step))
        if position == len(steps) - 1:
            break
        child = container[step] if isinstance(step, int) else container.get(step)
        if child is None and isinstance(steps[position + 1], str):
            child = {}
            container[step] = child
        container = child
    if value is not None or isinstance(steps[-1], int):
        container[steps[-1]] = value
        return
    container.pop(steps[-1], None)
    if not container and len(parents) > 1:
        section_owner, section_name = parents[-2]
        if isinstance(section_name, str):
            section_owner[section_name] = None


_MISSING = object()


def value_at_path(document: object, steps: Sequence[PathStep], default: Any = None) -> Any:
    """Return what lies at the steps of a path within a document, or `default` where they lead nowhere."""
    found = document
    for step in steps:
        if isinstance(step, int):
            found = found[step] if isinstance(found, list | tuple) and step < len(found) else _MISSING
        else:
            found = found.get(step, _MISSING) if isinstance(found, Mapping) else _MISSING
        if found is _MISSING:
            return default
    return found


def remove_at_path(document: dict[str, Any], path: str) -> None:
    """Remove a field or a list item in place; a path that leads nowhere removes nothing.

    A section that is left empty becomes null, as with `set_at_path`. Items of lists behind a removed one
    move up: remove several of one list from the last to the first.

    Raises:
        SearchSpaceError: the text is not a path.
    """
    *parents, last = parse_path(path)
    container = value_at_path(document, parents)
    if isinstance(last, int):
        if isinstance(container, list) and last < len(container):
            del container[last]
        return
    if not isinstance(container, dict) or last not in container:
        return
    del container[last]
    if not container and parents and isinstance(parents[-1], str):
        value_at_path(document, parents[:-1])[parents[-1]] = None


def _check_step(container: object, step: PathStep, *, path: str, followed: str) -> None:
    """Refuse a step that its container can't take."""
    where = f"{followed!r} of the template" if followed else "the template"
    if isinstance(step, str):
        if not isinstance(container, Mapping):
            raise SearchSpaceError(
                f"path {path!r}: {where} is {_describe(container)}, so it has no field {step!r}; "
                "allowed are fields of sections"
            )
        return
    if not isinstance(container, list):
        raise SearchSpaceError(f"path {path!r}: {where} is {_describe(container)}, not a list with an item [{step}]")
    if step >= len(container):
        raise SearchSpaceError(
            f"path {path!r}: {where} has {len(container)} item(s), so there is no item [{step}]; "
            f"allowed are [0] to [{len(container) - 1}]"
        )


def _describe(value: object) -> str:
    """Return a short name of what was found, for messages."""
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list):
        return "a list"
    return repr(value)
