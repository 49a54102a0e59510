"""Parameters of a search space: ranges and choices, their values by position, and their unit interval.

Every parameter maps the unit interval [0, 1) onto its values, so that samplers which know nothing but
numbers can serve any of them.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quantbot_pipeline.errors import SearchSpaceError

MAX_PARAMETER_VALUES = 1_000_000
"""How many values of one parameter are ever listed, and of a float with a step there are at most."""

# 0.1 + 2 * 0.1 is above 0.3 by one bit; the last step of a range must not fall off for that.
_STEP_ROUNDING = 1e-9


class _Parameter(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    path: str
    when: dict[str, JsonValue] | None = Field(default=None, min_length=1)
    otherwise: Literal["remove", "keep"] = "remove"


class FloatParameter(_Parameter):
    """A real number in [low, high].

    Attributes:
        path: Field of the strategy.
        when: Path → value, or list of values: the parameter exists only where all of them hold.
        otherwise: What becomes of the field elsewhere: `remove` takes it out, `keep` leaves the template's.
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
        when: As for `FloatParameter`.
        otherwise: As for `FloatParameter`.
        choices: At least one value, each once.
    """

    type: Literal["categorical"]
    choices: tuple[JsonValue, ...] = Field(min_length=1)


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter, Field(discriminator="type")]

PARAMETER_TYPES: dict[str, type[_Parameter]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}


def value_count(parameter: Parameter) -> int | None:
    """Return how many values a parameter has; None for a float without a step."""
    if isinstance(parameter, CategoricalParameter):
        return len(parameter.choices)
    if isinstance(parameter, IntParameter):
        return (parameter.high - parameter.low) // parameter.step + 1
    if parameter.step is None:
        return None
    return int(np.floor((parameter.high - parameter.low) / parameter.step + _STEP_ROUNDING)) + 1


def value_at(parameter: Parameter, position: int) -> Any:
    """Return a parameter's value at a position from 0, in the order of the document.

    Raises:
        SearchSpaceError: a float parameter without `step` has no values by position.
    """
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices[position]
    if isinstance(parameter, IntParameter):
        return parameter.low + position * parameter.step
    if parameter.step is None:
        raise SearchSpaceError(
            f"parameter {parameter.path!r} is a float without 'step', so a grid has no list of its values; "
            "add a step, make it categorical, or choose another sampler, such as 'random' or 'tpe'"
        )
    return min(parameter.low + position * parameter.step, parameter.high)


def parameter_values(parameter: Parameter) -> list[Any]:
    """Return every value of a parameter, in order.

    Raises:
        SearchSpaceError: a float parameter without `step` has no list of values, or it is too long.
    """
    if isinstance(parameter, CategoricalParameter):
        return list(parameter.choices)
    count = value_count(parameter) or 0
    if count > MAX_PARAMETER_VALUES:
        raise SearchSpaceError(
            f"parameter {parameter.path!r} has {count} values; at most {MAX_PARAMETER_VALUES} of one parameter "
            "are listed: give it a larger step"
        )
    return [value_at(parameter, position) for position in range(max(count, 1))]


def value_from_unit(parameter: Parameter, share: float) -> Any:
    """Return the value that lies at `share` in [0, 1] of the way through a parameter's values."""
    if not isinstance(parameter, CategoricalParameter) and parameter.log:
        return _log_value(parameter, share)
    count = value_count(parameter)
    if count is not None:
        return value_at(parameter, min(int(share * count), count - 1))
    assert isinstance(parameter, FloatParameter)  # noqa: S101  all others are counted
    return min(parameter.low + share * (parameter.high - parameter.low), parameter.high)


def unit_from_value(parameter: Parameter, value: Any) -> float:
    """Return a share of the unit interval that `value_from_unit` turns into the value again."""
    if isinstance(parameter, CategoricalParameter):
        position = next(k for k, choice in enumerate(parameter.choices) if same_json(choice, value))
        return (position + 0.5) / len(parameter.choices)
    if parameter.log:
        low, high = _log_bounds(parameter)
        return float((math.log(value) - low) / (high - low))
    count = value_count(parameter)
    if count is None:
        return float((value - parameter.low) / (parameter.high - parameter.low))
    return float((round((value - parameter.low) / (parameter.step or 1)) + 0.5) / count)


def nearest_value(parameter: FloatParameter | IntParameter, number: float) -> float | int:
    """Return the value of a parameter that lies nearest to a number."""
    inside = min(max(number, parameter.low), parameter.high)
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return inside
    count = value_count(parameter) or 1
    position = min(round((inside - parameter.low) / (parameter.step or 1)), count - 1)
    found: float | int = value_at(parameter, position)
    return found


def same_json(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal; true and 1 are not, 1 and 1.0 are."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(value, right[key]) for key, value in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same_json(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _log_bounds(parameter: FloatParameter | IntParameter) -> tuple[float, float]:
    # Whole numbers own the half unit on both sides, so that the ends are not drawn half as often.
    half = 0.5 if isinstance(parameter, IntParameter) else 0.0
    return math.log(parameter.low - half), math.log(parameter.high + half)


def _log_value(parameter: FloatParameter | IntParameter, share: float) -> float | int:
    low, high = _log_bounds(parameter)
    value = math.exp(low + share * (high - low))
    inside = min(max(value, parameter.low), parameter.high)
    return round(inside) if isinstance(parameter, IntParameter) else inside


def is_number(value: object) -> bool:
    """Return whether a JSON value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
