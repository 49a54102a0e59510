"""Search spaces: which fields of a strategy vary, and over what.

A search space is a JSON document; it is validated against the strategy template that it varies before
anything runs:

    {"parameters": [
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 5.0, "log": true},
        {"path": "exits.max_hold_seconds", "type": "int", "low": 3600, "high": 86400, "step": 3600},
        {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 0.3, null]}
    ]}

A null switches a field off (see `parameter_paths.set_at_path`); a choice may be a whole section. The
sampling itself lives in `study.py`.
"""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.parameter_paths import parse_path, set_at_path
from quantbot_pipeline.strategy.model import parse_strategy

# A canonical config, as stores keep it, has no name; a strategy needs one.
_UNNAMED = {"name": "search template"}

_IDENTITY_FIELDS = frozenset({"name", "version", "category", "description"})

# Enough that a space of which 2 % is valid is refused by mistake in fewer than 2 of 100 cases
# (0.98 ** 200 = 0.018); parsing 200 strategies takes well under a second.
_PROBE_COUNT = 200

MAX_PARAMETER_VALUES = 1_000_000
"""How many values of one parameter are ever listed, for grids and for floats with a step."""


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    path: str


class FloatParameter(_Parameter):
    """A real number in [low, high].

    Attributes:
        path: Field of the strategy.
        low: Smallest value.
        high: Largest value, above `low`.
        log: Whether values are drawn evenly on a logarithmic scale; needs low > 0 and no step.
        step: Distance of allowed values from `low` on; None allows every value. A grid needs it.
    """

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)


class IntParameter(_Parameter):
    """A whole number in [low, high]; attributes as for `FloatParameter`."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)


class CategoricalParameter(_Parameter):
    """One of several values; each is JSON: a number, a text, null or a whole section.

    Attributes:
        path: Field of the strategy.
        choices: At least one value, each once.
    """

    type: Literal["categorical"]
    choices: tuple[JsonValue, ...] = Field(min_length=1)


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter, Field(discriminator="type")]


_PARAMETER_TYPES: dict[str, type[_Parameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


class SearchSpace(BaseModel):
    """A validated search space together with the template that it varies.

    Attributes:
        parameters: What varies; paths are unique and none lies inside another.
        template: The strategy document whose fields are replaced.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: tuple[Parameter, ...]
    template: dict[str, JsonValue] = Field(default_factory=dict, repr=False)

    def document(self) -> dict[str, Any]:
        """Return the search space as the JSON document that `parse_search_space` reads."""
        return {"parameters": [parameter.model_dump(mode="json") for parameter in self.parameters]}


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
    faults = list(_range_faults(space.parameters))
    faults += _path_faults(space.parameters, template)
    if not faults:
        faults += _probe_faults(space)
    if faults:
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
    document: dict[str, Any] = copy.deepcopy(dict(template))
    for path, value in params.items():
        _refuse_identity(path)
        set_at_path(document, path, copy.deepcopy(value))
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


def parameter_values(parameter: Parameter) -> list[Any]:
    """Return every value of a parameter, in order, for a grid.

    Raises:
        SearchSpaceError: a float parameter without `step` has no list of values.
    """
    if isinstance(parameter, CategoricalParameter):
        return list(parameter.choices)
    if isinstance(parameter, IntParameter):
        values = range(parameter.low, parameter.high + 1, parameter.step)
        if len(values) > MAX_PARAMETER_VALUES:
            raise SearchSpaceError(
                f"parameter {parameter.path!r} has {len(values)} values; a grid takes at most "
                f"{MAX_PARAMETER_VALUES} of one parameter: give it a larger step"
            )
        return list(values)
    if parameter.step is None:
        raise SearchSpaceError(
            f"parameter {parameter.path!r} is a float without 'step', so a grid has no list of its values; "
            "add a step, make it categorical, or choose the sampler 'random' or 'tpe'"
        )
    # 1e-9: 0.1 + 2 * 0.1 is above 0.3 by one bit; the last step of a range must not fall off for that.
    count = int(np.floor((parameter.high - parameter.low) / parameter.step + 1e-9)) + 1
    return [min(parameter.low + k * parameter.step, parameter.high) for k in range(count)]


def _parse_shape(document: Mapping[str, Any], template: Mapping[str, Any], source: str) -> SearchSpace:
    """Return the space as far as its shape and types are right."""
    if not isinstance(document, Mapping) or set(document) != {"parameters"}:
        found = sorted(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
        raise _refusal(source, [f"found {found}; allowed is an object with the one key 'parameters', a list"])
    try:
        # By way of JSON text: its strict mode takes lists for tuples and nothing else for anything.
        checked = SearchSpace.model_validate_json(json.dumps({"parameters": document["parameters"]}))
    except TypeError as e:
        raise _refusal(source, [f"it is not JSON: {e}"]) from e
    except ValidationError as e:
        raise _refusal(source, [_shape_fault(fault) for fault in e.errors()]) from e
    if not checked.parameters:
        raise _refusal(source, ["parameters: found an empty list; allowed is at least one parameter"])
    return checked.model_copy(update={"template": copy.deepcopy(dict(template))})


def _shape_fault(fault: Any) -> str:
    """Return one fault of pydantic in this project's words, with the path in the document."""
    location, branch = "", ""
    for step in fault["loc"]:
        if isinstance(step, int):
            location += f"[{step}]"
        elif step in _PARAMETER_TYPES:  # the branch of the union that was taken, not a key
            branch = step
        else:
            location += f".{step}" if location else step
    match fault["type"]:
        case "missing":
            return f"{location}: found nothing; allowed is a value, it can't be left out"
        case "extra_forbidden":
            keys = ", ".join(_PARAMETER_TYPES[branch].model_fields) if branch else "parameters"
            return f"{location}: found an unknown key; allowed are {keys}"
        case "union_tag_invalid" | "union_tag_not_found":
            found = fault["input"].get("type") if isinstance(fault["input"], dict) else fault["input"]
            return f"{location}.type: found {_shown(found)}; allowed are {', '.join(_PARAMETER_TYPES)}"
        case "too_short":
            return f"{location}: found an empty list; allowed is at least one item"
        case _:
            allowed = fault["msg"].removeprefix("Input should be ")
            return f"{location}: found {_shown(fault['input'])}; allowed is {allowed}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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


def _path_faults(parameters: Sequence[Parameter], template: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with paths: unreadable, not in the template, repeated, or inside another."""
    seen: dict[tuple[str | int, ...], str] = {}
    for parameter in parameters:
        path = parameter.path
        try:
            steps = parse_path(path)
            apply_parameters(template, {path: _first_value(parameter)})
        except SearchSpaceError as e:
            yield str(e)
            continue
        for other_steps, other in seen.items():
            shared = min(len(steps), len(other_steps))
            if steps[:shared] == other_steps[:shared]:
                yield f"paths {other!r} and {path!r} set the same field; allowed is each field once"
        seen[steps] = path


def _probe_faults(space: SearchSpace) -> list[str]:
    """Return why no value, or one of the choices, ever gives a valid strategy."""
    generator = np.random.default_rng(0)
    valid_choices: dict[str, set[int]] = {
        parameter.path: set() for parameter in space.parameters if isinstance(parameter, CategoricalParameter)
    }
    first_refusal: StrategyError | None = None
    valid_params: dict[str, Any] | None = None
    for probe in range(_PROBE_COUNT):
        params: dict[str, Any] = {}
        chosen: dict[str, int] = {}
        for parameter in space.parameters:
            if isinstance(parameter, CategoricalParameter):
                chosen[parameter.path] = (
                    probe % len(parameter.choices)
                    if probe < len(parameter.choices)
                    else int(generator.integers(len(parameter.choices)))
                )
                params[parameter.path] = parameter.choices[chosen[parameter.path]]
            else:
                params[parameter.path] = _value_between(parameter, 0.5 if probe == 0 else generator.random())
        try:
            check_strategy(apply_parameters(space.template, params))
        except StrategyError as e:
            first_refusal = first_refusal or e
            continue
        except SearchSpaceError as e:
            return [str(e)]
        valid_params = params
        for path, position in chosen.items():
            valid_choices[path].add(position)
        if all(len(valid_choices[path]) == len(_choices(space, path)) for path in valid_choices):
            return []
    if valid_params is None:
        return [
            f"none of {_PROBE_COUNT} combinations of values gives a valid strategy; the first was refused: "
            f"{first_refusal}"
        ]
    faults = []
    for path, valid in valid_choices.items():
        for position, choice in enumerate(_choices(space, path)):
            if position in valid:
                continue
            try:
                check_strategy(apply_parameters(space.template, valid_params | {path: choice}))
            except StrategyError as e:
                faults.append(f"{path}: the choice {_shown(choice)} gives no valid strategy: {e}")
    return faults


def _choices(space: SearchSpace, path: str) -> tuple[Any, ...]:
    return next(
        parameter.choices
        for parameter in space.parameters
        if isinstance(parameter, CategoricalParameter) and parameter.path == path
    )


def _first_value(parameter: Parameter) -> Any:
    return parameter.choices[0] if isinstance(parameter, CategoricalParameter) else parameter.low


def _value_between(parameter: FloatParameter | IntParameter, share: float) -> float | int:
    """Return the value that lies at `share` in [0, 1) of the way from low to high."""
    if isinstance(parameter, IntParameter):
        values = (parameter.high - parameter.low) // parameter.step + 1
        return parameter.low + parameter.step * int(share * values)
    if parameter.step is not None:
        values_on_grid = parameter_values(parameter)
        return float(values_on_grid[int(share * len(values_on_grid))])
    if parameter.log:
        return float(parameter.low * (parameter.high / parameter.low) ** share)
    return parameter.low + share * (parameter.high - parameter.low)


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
