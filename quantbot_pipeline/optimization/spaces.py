"""Search spaces: which fields of a strategy vary, over what, and together with what.

A search space is a JSON document; it is validated against the strategy template that it varies before
anything runs:

    {"parameters": [
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 5.0, "log": true},
        {"path": "exits.max_hold_seconds", "type": "int", "low": 3600, "high": 86400, "step": 3600},
        {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 0.3, null]},
        {"path": "entry.type", "type": "categorical", "choices": ["immediate", "dip"]},
        {"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5, "when": {"entry.type": "dip"}}
     ],
     "constraints": [
        {"type": "sum", "paths": ["exits.targets[0].size", "exits.targets[1].size"], "at_most": 1}
     ]}

A null switches a field off (see `parameter_paths.set_at_path`); a choice may be a whole section. What
parameters are is in `parameters.py`, constraints are in `constraints.py`, the points of grids in
`grid_points.py`, what proposes values in `study.py`. `docs/optimize.md` is the reference for users.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.constraints import (
    CONSTRAINT_TYPES,
    Box,
    Constraint,
    Inequality,
    describe_constraint,
    project_onto,
)
from quantbot_pipeline.optimization.parameter_paths import (
    PathStep,
    parse_path,
    remove_at_path,
    set_at_path,
    value_at_path,
)
from quantbot_pipeline.optimization.parameters import (
    MAX_PARAMETER_VALUES,
    PARAMETER_TYPES,
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    nearest_value,
    parameter_values,
    same_json,
    unit_from_value,
    value_count,
    value_from_unit,
)
from quantbot_pipeline.optimization.strategy_fields import fields_at, number_fault
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

__all__ = [
    "MAX_PARAMETER_VALUES",
    "CategoricalParameter",
    "Condition",
    "FloatParameter",
    "IntParameter",
    "Parameter",
    "SearchSpace",
    "apply_parameters",
    "check_strategy",
    "default_search_space",
    "parameter_values",
    "parse_search_space",
]

# A canonical config, as stores keep it, has no name; a strategy needs one.
_UNNAMED = {"name": "search template"}

_IDENTITY_FIELDS = frozenset({"name", "version", "category", "description"})

# Enough that a space of which 2 % is valid is refused by mistake in fewer than 2 of 100 cases
# (0.98 ** 200 = 0.018); parsing 200 strategies takes well under a second.
_PROBE_COUNT = 200

# Valid points that are kept to pull refused proposals towards.
_MAX_ANCHORS = 32

# How far inside its constraints a projected point is aimed at, as a share of what the left side varies:
# steps round a point out of the constraints again when it lies on their border.
_PROJECTION_MARGINS = (0.0, 0.02, 0.1)

# Steps from a refused proposal to a valid point.
_PULLS = (0.25, 0.5, 0.75)

_KEYS = ("parameters", "constraints")


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
        found = value_at_path(controlling_value, self.within, default=_NOWHERE)
        return any(same_json(found, value) for value in self.values)


_NOWHERE = object()


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
        return tuple(tuple(_read_conditions(self.parameters, k)) for k in range(len(self.parameters)))

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
        document: dict[str, Any] = _copy_json(self.template)
        removed: list[str] = []
        for k, parameter in enumerate(self.parameters):
            if parameter.path in params:
                set_at_path(document, parameter.path, _copy_json(params[parameter.path]))
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
        return parse_strategy(_UNNAMED | self.configuration(params))

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
        for margin in _PROJECTION_MARGINS if self.constraints else ():
            projected = self._projected(params, margin)
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
        return tuple(itertools.islice(_valid_points(self), _MAX_ANCHORS))

    @cached_property
    def _inequalities(self) -> tuple[list[Inequality], ...]:
        return tuple(constraint.inequalities() for constraint in self.constraints)

    @cached_property
    def _template_numbers(self) -> dict[str, float]:
        """Numbers of the template that constraints name and that are no parameters."""
        own = {parameter.path for parameter in self.parameters}
        named = {path for constraint in self.constraints for path in constraint.all_weights()} - own
        found = {path: value_at_path(self.template, parse_path(path)) for path in sorted(named)}
        return {path: float(value) for path, value in found.items() if _is_number(value)}

    def _numbers(self, params: Mapping[str, Any]) -> dict[str, float]:
        return self._template_numbers | {path: float(value) for path, value in params.items() if _is_number(value)}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {parameter.path: k for k, parameter in enumerate(self.parameters)}

    def _projected(self, params: Mapping[str, Any], margin: float) -> dict[str, Any]:
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
        return any(_is_prefix(parse_path(other.path), steps) for j, other in enumerate(self.parameters) if j != k)


def parse_search_space(
    document: Mapping[str, Any], *, template: Mapping[str, Any], source: str = "search space"
) -> SearchSpace:
    """Return the validated search space of a document.

    Args:
        document: The search space, see the module's docstring.
        template: The strategy document that it varies.
        source: What messages call the document, such as its file name.

    Raises:
        SearchSpaceError: anything in the document can't be used; the message lists every fault with its
            path, what was found and what is allowed.
        StrategyError: the template itself is not a valid strategy.
    """
    check_strategy(template)
    space = _parse_shape(document, template, source)
    # Each group of checks trusts what the ones before it hold.
    for faults_of in (_single_faults, _condition_faults, _constraint_faults, _probe_faults):
        if faults := list(faults_of(space)):
            raise _refusal(source, faults)
    return space


def apply_parameters(template: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the template with the fields at the given paths replaced.

    Args:
        template: A strategy document; it is not changed.
        params: Path → value; None switches a field off.

    Raises:
        SearchSpaceError: a path does not fit the template, or names the strategy's identity (name,
            version, category, description), which never varies.
    """
    document: dict[str, Any] = _copy_json(dict(template))
    for path, value in params.items():
        _refuse_identity(path)
        set_at_path(document, path, _copy_json(value))
    return document


def check_strategy(document: Mapping[str, Any]) -> None:
    """Refuse a document that is no strategy; a canonical config without a name is one.

    Raises:
        StrategyError: the document is not a valid strategy.
    """
    parse_strategy(_UNNAMED | dict(document))


def default_search_space(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a small search space document for a template: first targets, stop and trailing distance.

    The ranges of neighbouring targets do not overlap, so that every combination is a valid strategy.

    Raises:
        SearchSpaceError: the template has none of these fields.
    """
    exits = template.get("exits") or {}
    parameters: list[dict[str, Any]] = []
    multiples = [float(target["multiple"]) for target in exits.get("targets") or []]
    # Borders between targets, halfway on a logarithmic scale: 2x and 3x meet at 2.45x. The outer
    # borders are as far out as half the way to 1x, and 1.5 times the last target.
    borders = [
        1 + (multiples[0] - 1) / 2 if multiples else 1.0,
        *(float(np.sqrt(low * high)) for low, high in itertools.pairwise(multiples)),
        1.5 * multiples[-1] if multiples else 1.0,
    ]
    for position in range(min(len(multiples), 2)):
        low, high = round(borders[position], 2), round(borders[position + 1], 2)
        if low + 0.01 < high:
            parameters.append(
                {
                    "path": f"exits.targets[{position}].multiple",
                    "type": "float",
                    "low": low + 0.01 if position else low,
                    "high": high,
                }
            )
    if (exits.get("stop_loss") or {}).get("initial") is not None:
        parameters.append({"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.6})
    if (exits.get("trailing") or {}).get("distance") is not None:
        parameters.append({"path": "exits.trailing.distance", "type": "float", "low": 0.05, "high": 0.5})
    if (template.get("entry") or {}).get("type") == "dip":
        parameters.append({"path": "entry.drop", "type": "float", "low": 0.05, "high": 0.6})
    if not parameters:
        raise SearchSpaceError(
            f"strategy {template.get('name')!r} has no targets, stop, trailing stop or dip that a default "
            "search space could vary; give a search space document"
        )
    return {"parameters": parameters}


def _parse_shape(document: Mapping[str, Any], template: Mapping[str, Any], source: str) -> SearchSpace:
    """Return the space as far as its shape and types are right."""
    if not isinstance(document, Mapping) or "parameters" not in document or not set(document) <= set(_KEYS):
        found = sorted(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
        raise _refusal(
            source,
            [f"found {found}; allowed is an object with the list 'parameters', and the list 'constraints' if wanted"],
        )
    try:
        # By way of JSON text: its strict mode takes lists for tuples and nothing else for anything.
        checked = SearchSpace.model_validate_json(json.dumps(dict(document)))
    except TypeError as e:
        raise _refusal(source, [f"it is not JSON: {e}"]) from e
    except ValidationError as e:
        raise _refusal(source, [_shape_fault(fault) for fault in e.errors()]) from e
    if not checked.parameters:
        raise _refusal(source, ["parameters: found an empty list; allowed is at least one parameter"])
    return checked.model_copy(update={"template": _copy_json(dict(template))})


def _shape_fault(fault: Any) -> str:
    """Return one fault of pydantic in this project's words, with the path in the document."""
    location, branch = "", ""
    kinds: dict[str, type[BaseModel]] = {**PARAMETER_TYPES, **CONSTRAINT_TYPES}
    for position, step in enumerate(fault["loc"]):
        if isinstance(step, int):
            location += f"[{step}]"
        elif position == 2 and step in kinds:  # the branch of the union that was taken, not a key
            branch = step
        else:
            location += f".{step}" if location else step
    match fault["type"]:
        case "missing":
            return f"{location}: found nothing; allowed is a value, it can't be left out"
        case "extra_forbidden":
            keys = ", ".join(kinds[branch].model_fields) if branch else ", ".join(_KEYS)
            return f"{location}: found an unknown key; allowed are {keys}"
        case "union_tag_invalid" | "union_tag_not_found":
            found = fault["input"].get("type") if isinstance(fault["input"], dict) else fault["input"]
            allowed = CONSTRAINT_TYPES if location.startswith("constraints") else PARAMETER_TYPES
            return f"{location}.type: found {_shown(found)}; allowed are {', '.join(allowed)}"
        case "too_short":
            return f"{location}: found an empty list; allowed is at least one item"
        case _:
            allowed_text = fault["msg"].removeprefix("Input should be ")
            return f"{location}: found {_shown(fault['input'])}; allowed is {allowed_text}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _single_faults(space: SearchSpace) -> Iterator[str]:
    yield from _range_faults(space.parameters)
    yield from _path_faults(space)


def _range_faults(parameters: Sequence[Parameter]) -> Iterator[str]:
    """Yield what is wrong with ranges and choices taken alone."""
    for parameter in parameters:
        if isinstance(parameter, CategoricalParameter):
            texts = [json.dumps(choice, sort_keys=True) for choice in parameter.choices]
            if repeated := sorted({text for text in texts if texts.count(text) > 1}):
                yield (f"{parameter.path}: choices {', '.join(repeated)} occur more than once; allowed is each once")
            continue
        if parameter.low >= parameter.high:
            yield (f"{parameter.path}: found low {parameter.low} and high {parameter.high}; allowed is low < high")
        elif parameter.step is not None and parameter.step > parameter.high - parameter.low:
            yield (
                f"{parameter.path}: found step {parameter.step} over a range of {parameter.high - parameter.low:g}; "
                "allowed is a step within the range"
            )
        if (
            isinstance(parameter, FloatParameter)
            and parameter.step is not None
            and (parameter.high - parameter.low) / parameter.step > MAX_PARAMETER_VALUES
        ):
            yield (
                f"{parameter.path}: found step {parameter.step}, more than {MAX_PARAMETER_VALUES} values; "
                "allowed is a larger step, or none for every value"
            )
        if parameter.log and parameter.low <= 0:
            yield f"{parameter.path}: found log with low {parameter.low}; allowed is low > 0, or log = false"
        if parameter.log and parameter.step not in (None, 1):
            yield f"{parameter.path}: found both log and step {parameter.step}; allowed is one of them"


def _path_faults(space: SearchSpace) -> Iterator[str]:
    """Yield what is wrong with paths: unreadable, no field, repeated, inside another, ends that it refuses."""
    seen: list[tuple[tuple[PathStep, ...], Parameter]] = []
    for parameter in space.parameters:
        path = parameter.path
        try:
            steps = parse_path(path)
            _refuse_identity(path)
            fields_at(path)
            if parameter.when is None:
                apply_parameters(space.template, {path: _first_value(parameter)})
        except SearchSpaceError as e:
            yield str(e)
            continue
        for other_steps, other in seen:
            if steps == other_steps:
                yield f"path {path!r} occurs twice: both set the same field; allowed is each field once"
            elif _is_prefix(steps, other_steps):
                yield (
                    f"paths {other.path!r} and {path!r} set the same field; allowed is the whole section first, "
                    "and its field after it with a condition ('when') on it"
                )
            elif _is_prefix(other_steps, steps) and not _is_conditioned_on(parameter, other_steps):
                yield (
                    f"paths {other.path!r} and {path!r} set the same field; allowed is each field once, or a "
                    f'condition such as "when": {{{json.dumps(other.path)}: ...}} at {path!r}'
                )
        seen.append((steps, parameter))
        if not isinstance(parameter, CategoricalParameter):
            for end in ("low", "high"):
                value = getattr(parameter, end)
                if allowed := number_fault(path, value):
                    yield f"{path}: found {end} {value!r}; allowed is {allowed}"


def _is_prefix(shorter: tuple[PathStep, ...], longer: tuple[PathStep, ...]) -> bool:
    return len(shorter) < len(longer) and longer[: len(shorter)] == shorter


def _is_conditioned_on(parameter: Parameter, steps: tuple[PathStep, ...]) -> bool:
    return any(parse_path(path)[: len(steps)] == steps for path in parameter.when or {})


def _read_conditions(parameters: Sequence[Parameter], k: int) -> Iterator[Condition]:
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


def _condition_faults(space: SearchSpace) -> Iterator[str]:
    """Yield conditions that name no earlier parameter, or values that it never has."""
    for k, parameter in enumerate(space.parameters):
        try:
            conditions = list(_read_conditions(space.parameters, k))
        except SearchSpaceError as e:
            yield str(e)
            continue
        for condition in conditions:
            yield from _value_faults(parameter, condition, space.parameters[condition.controller])


def _value_faults(parameter: Parameter, condition: Condition, controller: Parameter) -> Iterator[str]:
    if not condition.values:
        yield f"{parameter.path}: found no value for {condition.path!r} in its condition; allowed is at least one"
        return
    if value_count(controller) is None:
        yield (
            f"{parameter.path}: found a condition on {condition.path!r}, a float without 'step', which never has "
            "one value exactly; allowed are categorical, int and stepped parameters"
        )
        return
    for value in condition.values:
        if isinstance(controller, CategoricalParameter):
            one = Condition(condition.path, condition.controller, condition.within, (value,))
            is_possible = any(one.holds_for(choice) for choice in controller.choices)
            allowed = ", ".join(_shown(value_at_path(choice, condition.within)) for choice in controller.choices)
        else:
            is_possible = _is_number(value) and nearest_value(controller, float(value)) == value
            allowed = f"{controller.low} to {controller.high} in steps of {controller.step}"
        if not is_possible:
            yield (
                f"{parameter.path}: found a condition on {condition.path!r} being {_shown(value)}, which it never "
                f"is; allowed are {allowed}"
            )


def _constraint_faults(space: SearchSpace) -> Iterator[str]:
    """Yield constraints over things that are no numbers, or that nothing within the ranges meets."""
    own = {parameter.path: parameter for parameter in space.parameters}
    for position, constraint in enumerate(space.constraints):
        where = f"constraints[{position}]"
        weights = constraint.all_weights()
        if constraint.type == "sum" and len(set(constraint.paths)) < len(constraint.paths):
            yield f"{where}: found a path twice; allowed is each path once"
        if constraint.type == "less_than" and constraint.left == constraint.right:
            yield f"{where}: found {constraint.left!r} on both sides; allowed are two parameters"
            continue
        if constraint.type != "less_than" and constraint.at_most is None and constraint.at_least is None:
            yield f"{where}: found neither at_most nor at_least; allowed is at least one of them"
        ranges: dict[str, Box] = {}
        faults = []
        for path in weights:
            try:
                ranges[path] = _number_range(space, own, path)
            except SearchSpaceError as e:
                faults.append(f"{where}: {e}")
        yield from faults
        if not faults and not any(path in own for path in weights):
            yield f"{where}: found no parameter among {', '.join(weights)}; allowed is at least one"
        elif not faults:
            yield from _infeasible(where, constraint, ranges, own)


def _infeasible(
    where: str, constraint: Constraint, ranges: Mapping[str, Box], own: Mapping[str, Parameter]
) -> Iterator[str]:
    # A parameter that may be absent may be left out of the sum, which is then another sum.
    if any(path in own and own[path].when for path in ranges):
        return
    for inequality in constraint.inequalities():
        least = sum(
            weight * (ranges[path].low if weight > 0 else ranges[path].high)
            for path, weight in inequality.weights.items()
        )
        if least > inequality.bound + 1e-9 or (inequality.is_strict and least >= inequality.bound):
            found = ", ".join(f"{path} in [{box.low:g}, {box.high:g}]" for path, box in ranges.items())
            yield (
                f"{where}: nothing within the ranges meets it: found {found}; asked for is "
                f"{describe_constraint(constraint)}"
            )


def _number_range(space: SearchSpace, own: Mapping[str, Parameter], path: str) -> Box:
    """Return between what a number of a constraint lies."""
    parameter = own.get(path)
    if isinstance(parameter, CategoricalParameter):
        numbers = [choice for choice in parameter.choices if _is_number(choice)]
        if len(numbers) < len(parameter.choices):
            raise SearchSpaceError(f"the choices of {path!r} are not all numbers; allowed are numbers")
        return Box(min(map(float, numbers)), max(map(float, numbers)))  # type: ignore[arg-type]  # numbers all
    if parameter is not None:
        return Box(parameter.low, parameter.high)
    found = value_at_path(space.template, parse_path(path), default=_NOWHERE)
    if not _is_number(found):
        known = ", ".join(own)
        state = "no parameter and not in the template" if found is _NOWHERE else f"{_shown(found)} in the template"
        raise SearchSpaceError(
            f"found {path!r}, which is {state}; allowed are numbers of the template and the parameters {known}"
        )
    return Box(float(found), float(found))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _valid_points(space: SearchSpace) -> Iterator[dict[str, Any]]:
    """Yield points whose strategies are valid, of a fixed number of draws."""
    for params, _ in _probes(space):
        if space.is_valid(params):
            yield params


def _probes(space: SearchSpace) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Yield the same draws each time, within the constraints where they can be met, with the choices made."""
    generator = np.random.default_rng(0)
    sizes = [len(p.choices) if isinstance(p, CategoricalParameter) else 0 for p in space.parameters]
    for probe in range(_PROBE_COUNT):
        shares = np.full(len(sizes), 0.5) if probe == 0 else generator.random(len(sizes))
        for k, size in enumerate(sizes):
            # Every choice comes in turn at first, so that none is left out by chance.
            if probe < size:
                shares[k] = (probe + 0.5) / size
        params = space.from_units(shares.tolist())
        for margin in _PROJECTION_MARGINS:
            if space.broken_constraint(params) is None:
                break
            params = space._projected(params, margin)
        chosen = {
            space.parameters[k].path: min(int(shares[k] * size), size - 1)
            for k, size in enumerate(sizes)
            if size and space.parameters[k].path in params
        }
        yield params, chosen


def _probe_faults(space: SearchSpace) -> Iterator[str]:
    """Yield why no value, or one of the choices, or one of the parameters, ever gives a valid strategy."""
    unseen_choices = {
        (parameter.path, position)
        for parameter in space.parameters
        if isinstance(parameter, CategoricalParameter)
        for position in range(len(parameter.choices))
    }
    unseen_parameters = {parameter.path for parameter in space.parameters}
    refusals: dict[str, str] = {}
    first_refusal = ""
    valid_count = 0
    for params, chosen in _probes(space):
        try:
            space.strategy(params)
        except (StrategyError, SearchSpaceError) as e:
            first_refusal = first_refusal or str(e)
            for path, position in chosen.items():
                refusals.setdefault(f"{path} {position}", str(e))
            for path in params:
                refusals.setdefault(path, str(e))
            continue
        valid_count += 1
        unseen_choices -= set(chosen.items())
        unseen_parameters -= params.keys()
        if not unseen_choices and not unseen_parameters and valid_count >= _MAX_ANCHORS:
            return
    if not valid_count:
        yield (
            f"none of {_PROBE_COUNT} combinations of values gives a valid strategy; the first was refused: "
            f"{first_refusal}"
        )
        return
    own = {parameter.path: parameter for parameter in space.parameters}
    for path, position in sorted(unseen_choices):
        if (refusal := refusals.get(f"{path} {position}")) is not None and path not in unseen_parameters:
            parameter = own[path]
            assert isinstance(parameter, CategoricalParameter)  # noqa: S101  only they have choices
            yield f"{path}: the choice {_shown(parameter.choices[position])} gives no valid strategy: {refusal}"
    for path in sorted(unseen_parameters):
        if path in refusals:
            yield f"{path}: no value of it gives a valid strategy where it exists: {refusals[path]}"
        elif own[path].when:
            yield (
                f"{path}: none of {_PROBE_COUNT} combinations meets its condition {_shown(own[path].when)}; "
                "allowed are conditions that can hold together"
            )


def _copy_json(value: Any) -> Any:
    """Return a copy that shares nothing; `copy.deepcopy` takes five times as long, for every trial."""
    if isinstance(value, dict):
        return {key: _copy_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_copy_json(child) for child in value]
    return value


def _first_value(parameter: Parameter) -> Any:
    return parameter.choices[0] if isinstance(parameter, CategoricalParameter) else parameter.low


def _removal_order(path: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, step, "") if isinstance(step, int) else (0, 0, step) for step in parse_path(path))


def _refuse_identity(path: str) -> None:
    if parse_path(path)[0] in _IDENTITY_FIELDS:
        raise SearchSpaceError(
            f"path {path!r} is part of the strategy's identity; allowed are fields that change what it does: "
            "entry, exits, re_entry, costs and the settings beside them"
        )


def _refusal(source: str, faults: Sequence[str]) -> SearchSpaceError:
    if len(faults) == 1:
        return SearchSpaceError(f"{source}: {faults[0]}")
    return SearchSpaceError(f"{source} has {len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults))
