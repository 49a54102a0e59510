"""What can be wrong with a search space whose shape is right: ranges, paths, conditions and constraints.

Each function yields one sentence per fault: where, what was found, what is allowed. Faults that only whole strategies
show are found by drawing, in `valid_points.py`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.conditions import NOWHERE, Condition, is_prefix, read_conditions
from quantbot_pipeline.optimization.constraints import Box, Constraint, describe_constraint
from quantbot_pipeline.optimization.fault_texts import shown
from quantbot_pipeline.optimization.parameter_paths import PathStep, parse_path, value_at_path
from quantbot_pipeline.optimization.parameters import (
    MAX_PARAMETER_VALUES,
    CategoricalParameter,
    FloatParameter,
    Parameter,
    is_number,
    nearest_value,
    value_count,
)
from quantbot_pipeline.optimization.search_space import SearchSpace
from quantbot_pipeline.optimization.strategy_fields import fields_at, kind_fault, number_fault
from quantbot_pipeline.optimization.template_fields import apply_parameters, refuse_identity


def single_faults(space: SearchSpace) -> Iterator[str]:
    """Yield what is wrong with parameters, each looked at without its conditions."""
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
            refuse_identity(path)
            fields_at(path)
            if parameter.when is None:
                apply_parameters(space.template, {path: _first_value(parameter)})
                yield from _kind_faults(space, path)
        except SearchSpaceError as e:
            yield str(e)
            continue
        for other_steps, other in seen:
            if steps == other_steps:
                yield f"path {path!r} occurs twice: both set the same field; allowed is each field once"
            elif is_prefix(steps, other_steps):
                yield (
                    f"paths {other.path!r} and {path!r} set the same field; allowed is the whole section first, "
                    "and its field after it with a condition ('when') on it"
                )
            elif is_prefix(other_steps, steps) and not _is_conditioned_on(parameter, other_steps):
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


def _kind_faults(space: SearchSpace, path: str) -> Iterator[str]:
    """Yield why the section of a field, as the template has it and nothing else sets it, has no such field."""
    section = path.rpartition(".")[0]
    if not section or section.endswith("]"):
        return
    kind_steps = parse_path(f"{section}.type")
    kind = value_at_path(space.template, kind_steps, default=NOWHERE)
    is_varied = any(
        kind_steps[: len(steps)] == steps for steps in (parse_path(parameter.path) for parameter in space.parameters)
    )
    if kind is NOWHERE or is_varied:
        return
    if fault := kind_fault(path, kind):
        yield (
            f"path {path!r}: {fault}; or vary {section + '.type'!r} as well, with a condition on it here, such as "
            f'"when": {{{json.dumps(section + ".type")}: ...}}'
        )


def _is_conditioned_on(parameter: Parameter, steps: tuple[PathStep, ...]) -> bool:
    return any(parse_path(path)[: len(steps)] == steps for path in parameter.when or {})


def condition_faults(space: SearchSpace) -> Iterator[str]:
    """Yield conditions that name no earlier parameter, or values that it never has."""
    for k, parameter in enumerate(space.parameters):
        try:
            conditions = list(read_conditions(space.parameters, k))
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
            allowed = ", ".join(shown(value_at_path(choice, condition.within)) for choice in controller.choices)
        else:
            is_possible = is_number(value) and nearest_value(controller, float(value)) == value
            allowed = f"{controller.low} to {controller.high} in steps of {controller.step}"
        if not is_possible:
            yield (
                f"{parameter.path}: found a condition on {condition.path!r} being {shown(value)}, which it never "
                f"is; allowed are {allowed}"
            )


def constraint_faults(space: SearchSpace) -> Iterator[str]:
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
        numbers = [choice for choice in parameter.choices if is_number(choice)]
        if len(numbers) < len(parameter.choices):
            raise SearchSpaceError(f"the choices of {path!r} are not all numbers; allowed are numbers")
        return Box(min(map(float, numbers)), max(map(float, numbers)))  # type: ignore[arg-type]  # numbers all
    if parameter is not None:
        return Box(parameter.low, parameter.high)
    found = value_at_path(space.template, parse_path(path), default=NOWHERE)
    if not is_number(found):
        known = ", ".join(own)
        state = "no parameter and not in the template" if found is NOWHERE else f"{shown(found)} in the template"
        raise SearchSpaceError(
            f"found {path!r}, which is {state}; allowed are numbers of the template and the parameters {known}"
        )
    return Box(float(found), float(found))


def _first_value(parameter: Parameter) -> object:
    return parameter.choices[0] if isinstance(parameter, CategoricalParameter) else parameter.low
