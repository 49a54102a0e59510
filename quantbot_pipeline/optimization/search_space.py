"""A search space: what varies, which sets of parameters there are, and the strategy of each.

Spaces come from `spaces.parse_search_space`, which checks them; here nothing is checked twice.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.conditions import Condition, is_prefix, read_conditions
from quantbot_pipeline.optimization.constraints import (
    Box,
    Constraint,
    Inequality,
    describe_constraint,
    project_onto,
)
from quantbot_pipeline.optimization.parameter_paths import (
    parse_path,
    remove_at_path,
    set_at_path,
    value_at_path,
)
from quantbot_pipeline.optimization.parameters import (
    CategoricalParameter,
    Parameter,
    is_number,
    nearest_value,
    unit_from_value,
    value_from_unit,
)
from quantbot_pipeline.optimization.template_fields import UNNAMED, copy_json
from quantbot_pipeline.optimization.valid_points import MAX_ANCHORS, PROJECTION_MARGINS, valid_points
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

# Steps from a refused proposal to a valid point.
_PULLS = (0.25, 0.5, 0.75)


class SearchSpace(BaseModel):
    """A validated search space together with the template that it varies; `parse_search_space` makes one.

    Attributes:
        parameters: What varies; each field once.
        constraints: What must hold between parameters.
        template: The strategy document whose fields are replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()
    template: dict[str, JsonValue] = Field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        """Return the search space as the JSON document that `parse_search_space` reads."""
        document: dict[str, Any] = {
            "parameters": [parameter.model_dump(mode="json", exclude_defaults=True) for parameter in self.parameters]
        }
        if self.constraints:
            document["constraints"] = [
                constraint.model_dump(mode="json", exclude_defaults=True) for constraint in self.constraints
            ]
        return document

    @cached_property
    def conditions(self) -> tuple[tuple[Condition, ...], ...]:
        """The conditions of each parameter, in the order of the parameters."""
        return tuple(tuple(read_conditions(self.parameters, k)) for k in range(len(self.parameters)))

    def assemble(self, pick: Callable[[int], Any]) -> dict[str, Any]:
        """Return path → value of the parameters that exist, where `pick` says the value of each.

        Args:
            pick: Called with the position of every parameter that exists, in order.
        """
        picked: dict[int, Any] = {}
        for k, conditions in enumerate(self.conditions):
            if all(each.controller in picked and each.holds_for(picked[each.controller]) for each in conditions):
                picked[k] = pick(k)
        return {self.parameters[k].path: value for k, value in picked.items()}

    def from_units(self, shares: Sequence[float]) -> dict[str, Any]:
        """Return path → value of the point of the unit cube; coordinates of absent parameters are ignored.

        Args:
            shares: One number in [0, 1] per parameter.
        """
        return self.assemble(lambda k: value_from_unit(self.parameters[k], shares[k]))

    def to_units(self, params: Mapping[str, Any], absent: Sequence[float]) -> list[float]:
        """Return a point of the unit cube that `from_units` turns into the parameters.

        Args:
            params: Path → value.
            absent: Coordinates of the parameters that do not exist in `params`.
        """
        return [
            unit_from_value(parameter, params[parameter.path]) if parameter.path in params else absent[k]
            for k, parameter in enumerate(self.parameters)
        ]

    def configuration(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the strategy document of a set of parameters.

        Args:
            params: Path → value, of the parameters that exist; the fields of the others are removed, or
                left as in the template where the parameter says `keep`.

        Raises:
            SearchSpaceError: a path does not fit the template.
        """
        document: dict[str, Any] = copy_json(self.template)
        removed: list[str] = []
        for k, parameter in enumerate(self.parameters):
            if parameter.path in params:
                set_at_path(document, parameter.path, copy_json(params[parameter.path]))
            elif parameter.otherwise == "remove" and not self._lies_in_other(k):
                removed.append(parameter.path)
        # From the last item of a list to the first, so that no position changes meanwhile.
        for path in sorted(removed, key=_removal_order, reverse=True):
            remove_at_path(document, path)
        return document

    def strategy(self, params: Mapping[str, Any]) -> Strategy:
        """Return the strategy of a set of parameters.

        Raises:
            SearchSpaceError: a constraint does not hold, with both sides.
            StrategyError: the model refuses the strategy.
        """
        if broken := self.broken_constraint(params):
            raise SearchSpaceError(broken)
        return parse_strategy(UNNAMED | self.configuration(params))

    def broken_constraint(self, params: Mapping[str, Any]) -> str | None:
        """Return which constraint the parameters break, and how, or None."""
        if not self.constraints:
            return None
        values = self._numbers(params)
        for constraint, inequalities in zip(self.constraints, self._inequalities, strict=True):
            if not all(inequality.holds(values) for inequality in inequalities):
                found = ", ".join(f"{path} = {values[path]:g}" for path in constraint.all_weights() if path in values)
                return f"found {found}; allowed is {describe_constraint(constraint)}"
        return None

    def repair(self, params: Mapping[str, Any], *, choice: int) -> dict[str, Any]:
        """Return valid parameters near refused ones.

        The numbers are first projected onto the constraints; if the model still refuses, they are pulled
        towards one of the points that were found valid when the space was read.

        Args:
            params: Path → value.
            choice: Which valid point is taken if it comes to that, any whole number of at least 0.
        """
        for margin in PROJECTION_MARGINS if self.constraints else ():
            projected = self.projected(params, margin)
            if self.is_valid(projected):
                return projected
        anchor = self.anchors[choice % len(self.anchors)]
        absent = [0.5] * len(self.parameters)
        start, end = self.to_units(params, absent), self.to_units(anchor, absent)
        for share in _PULLS:
            # Choices stay what they are on the way: between two of them there is nothing.
            between = [
                a if isinstance(parameter, CategoricalParameter) else a + share * (b - a)
                for parameter, a, b in zip(self.parameters, start, end, strict=True)
            ]
            pulled = self.from_units(between)
            if self.is_valid(pulled):
                return pulled
        return dict(anchor)

    def is_valid(self, params: Mapping[str, Any]) -> bool:
        """Return whether the constraints hold and the model takes the strategy."""
        try:
            self.strategy(params)
        except (SearchSpaceError, StrategyError):
            return False
        return True

    @cached_property
    def anchors(self) -> tuple[dict[str, Any], ...]:
        """Some points whose strategies are valid, the same ones each time; never empty once parsed."""
        return tuple(itertools.islice(valid_points(self), MAX_ANCHORS))

    @cached_property
    def _inequalities(self) -> tuple[list[Inequality], ...]:
        return tuple(constraint.inequalities() for constraint in self.constraints)

    @cached_property
    def _template_numbers(self) -> dict[str, float]:
        """Numbers of the template that constraints name and that are no parameters."""
        own = {parameter.path for parameter in self.parameters}
        named = {path for constraint in self.constraints for path in constraint.all_weights()} - own
        found = {path: value_at_path(self.template, parse_path(path)) for path in sorted(named)}
        return {path: float(value) for path, value in found.items() if is_number(value)}

    def _numbers(self, params: Mapping[str, Any]) -> dict[str, float]:
        return self._template_numbers | {path: float(value) for path, value in params.items() if is_number(value)}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {parameter.path: k for k, parameter in enumerate(self.parameters)}

    def projected(self, params: Mapping[str, Any], margin: float) -> dict[str, Any]:
        """Return the parameters with their numbers moved onto the constraints; steps may lead out of them again.

        Args:
            params: Path → value.
            margin: How far inside is aimed at, as a share of what the left sides vary, at least 0.
        """
        ranges = {path: self.parameters[self._positions[path]] for path in params}
        boxes = {
            path: Box(parameter.low, parameter.high)
            for path, parameter in ranges.items()
            if not isinstance(parameter, CategoricalParameter)
        }
        inequalities = [inequality for group in self._inequalities for inequality in group]
        moved = project_onto(inequalities, self._numbers(params), boxes, margin=margin)
        values = dict(params)
        for path, parameter in ranges.items():
            if not isinstance(parameter, CategoricalParameter):
                values[path] = nearest_value(parameter, moved[path])
        # A number may be what another parameter's existence hangs on.
        return self.assemble(
            lambda k: (
                values[path]
                if (path := self.parameters[k].path) in values
                else value_from_unit(self.parameters[k], 0.5)
            )
        )

    def _lies_in_other(self, k: int) -> bool:
        steps = parse_path(self.parameters[k].path)
        return any(is_prefix(parse_path(other.path), steps) for j, other in enumerate(self.parameters) if j != k)


def _removal_order(path: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, step, "") if isinstance(step, int) else (0, 0, step) for step in parse_path(path))
