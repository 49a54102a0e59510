"""Conditions of parameters: a parameter exists only where all of its `when` hold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.parameter_paths import PathStep, parse_path, value_at_path
from quantbot_pipeline.optimization.parameters import Parameter, same_json

NOWHERE = object()
"""Found where a path leads nowhere."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of a parameter's `when`.

    Attributes:
        path: As written.
        controller: Position of the parameter whose value decides.
        within: Steps from that parameter's value to what is compared; empty for the value itself.
        values: It holds where one of them is found.
    """

    path: str
    controller: int
    within: tuple[PathStep, ...]
    values: tuple[Any, ...]

    def holds_for(self, controlling_value: Any) -> bool:
        """Return whether it holds where the controlling parameter exists and has this value."""
        found = value_at_path(controlling_value, self.within, default=NOWHERE)
        return any(same_json(found, value) for value in self.values)


def read_conditions(parameters: Sequence[Parameter], k: int) -> Iterator[Condition]:
    """Yield the conditions of parameter k.

    Raises:
        SearchSpaceError: a condition names no parameter before this one.
    """
    parameter = parameters[k]
    for path, wanted in (parameter.when or {}).items():
        steps = parse_path(path)
        owners = [j for j, other in enumerate(parameters) if steps[: len(own := parse_path(other.path))] == own]
        before = [j for j in owners if j < k]
        if not before:
            known = ", ".join(other.path for other in parameters[:k]) or "none"
            raise SearchSpaceError(
                f"{parameter.path}: found a condition on {path!r}, which is "
                + ("a parameter further down or itself" if owners else "no parameter")
                + f"; allowed are parameters listed before it: {known}"
            )
        # The innermost parameter that holds the value: the last one that sets it.
        owner = max(before, key=lambda j: len(parse_path(parameters[j].path)))
        values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        yield Condition(path, owner, steps[len(parse_path(parameters[owner].path)) :], values)


def is_prefix(shorter: tuple[PathStep, ...], longer: tuple[PathStep, ...]) -> bool:
    """Return whether one path leads into what the other one sets."""
    return len(shorter) < len(longer) and longer[: len(shorter)] == shorter
