"""Constraints of a search space: linear inequalities over parameters.

    {"type": "sum", "paths": ["exits.targets[0].size", "exits.targets[1].size"], "at_most": 1}
    {"type": "linear", "weights": {"entry.drop": 1, "exits.stop_loss.initial": -2}, "at_least": 0}
    {"type": "less_than", "left": "exits.targets[0].multiple", "right": "exits.targets[1].multiple", "gap": 0.1}

A parameter that does not exist (its condition does not hold) is left out of sums and weights, and `less_than`
does not apply then. Each path is a parameter, or a number of the template, which counts as it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quantbot_pipeline.engine.candles import FloatArray

TOLERANCE = 1e-9
"""How far a side may go beyond its bound: rounding of decimal fractions, as in the strategy model."""


@dataclass(frozen=True, slots=True)
class Inequality:
    """Σ weights · values <= bound, or < where `is_strict`."""

    weights: Mapping[str, float]
    bound: float
    is_strict: bool = False
    needs_all: bool = False

    def applies(self, values: Mapping[str, float]) -> bool:
        """Return whether enough of the paths have a value."""
        present = [path in values for path in self.weights]
        return all(present) if self.needs_all else any(present)

    def left_side(self, values: Mapping[str, float]) -> float:
        """Return Σ weights · values over the paths that have a value."""
        return sum(weight * values[path] for path, weight in self.weights.items() if path in values)

    def holds(self, values: Mapping[str, float]) -> bool:
        """Return whether the values meet it, or it does not apply."""
        if not self.applies(values):
            return True
        side = self.left_side(values)
        return side < self.bound if self.is_strict else side <= self.bound + TOLERANCE


class _Constraint(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SumConstraint(_Constraint):
    """A sum of parameters within bounds, of which at least one is given."""

    type: Literal["sum"]
    paths: tuple[str, ...] = Field(min_length=1)
    at_most: float | None = None
    at_least: float | None = None

    def all_weights(self) -> dict[str, float]:
        """Return path → weight."""
        return dict.fromkeys(self.paths, 1.0)

    def inequalities(self) -> list[Inequality]:
        """Return the constraint as inequalities."""
        return _within(self.all_weights(), self.at_most, self.at_least)


class LinearConstraint(_Constraint):
    """A weighted sum of parameters within bounds, of which at least one is given."""

    type: Literal["linear"]
    weights: dict[str, float] = Field(min_length=1)
    at_most: float | None = None
    at_least: float | None = None

    def all_weights(self) -> dict[str, float]:
        """Return path → weight."""
        return dict(self.weights)

    def inequalities(self) -> list[Inequality]:
        """Return the constraint as inequalities."""
        return _within(self.all_weights(), self.at_most, self.at_least)


class LessThanConstraint(_Constraint):
    """left < right, or left <= right - gap where a gap above 0 is given."""

    type: Literal["less_than"]
    left: str
    right: str
    gap: float = Field(default=0.0, ge=0)

    def all_weights(self) -> dict[str, float]:
        """Return path → weight."""
        return {self.left: 1.0, self.right: -1.0}

    def inequalities(self) -> list[Inequality]:
        """Return the constraint as an inequality."""
        return [Inequality(self.all_weights(), -self.gap, is_strict=self.gap == 0, needs_all=True)]


Constraint = Annotated[SumConstraint | LinearConstraint | LessThanConstraint, Field(discriminator="type")]

CONSTRAINT_TYPES: dict[str, type[_Constraint]] = {
    "sum": SumConstraint,
    "linear": LinearConstraint,
    "less_than": LessThanConstraint,
}


def describe_constraint(constraint: Constraint) -> str:
    """Return a constraint as people write it, such as `a + 2*b <= 1`."""
    if isinstance(constraint, LessThanConstraint):
        if constraint.gap:
            return f"{constraint.left} <= {constraint.right} - {constraint.gap:g}"
        return f"{constraint.left} < {constraint.right}"
    text = " + ".join(
        path if weight == 1 else f"{weight:g}*{path}" for path, weight in constraint.all_weights().items()
    )
    if constraint.at_least is not None:
        text = f"{constraint.at_least:g} <= {text}"
    return text if constraint.at_most is None else f"{text} <= {constraint.at_most:g}"


@dataclass(frozen=True, slots=True)
class Box:
    """Range of a number that may be moved."""

    low: float
    high: float


def project_onto(
    inequalities: list[Inequality], values: Mapping[str, float], boxes: Mapping[str, Box], *, margin: float = 0.0
) -> dict[str, float]:
    """Return values near the given ones that meet inequalities, as far as it goes.

    Projects onto one violated half-space after the other, in units of the ranges, until all hold: this ends
    in the common part of the half-spaces and the box wherever there is one.

    Args:
        inequalities: Half-spaces.
        values: Path → value.
        boxes: Path → range of the values that may move; the others stay.
        margin: How far inside the half-spaces to aim, as a share of what the left side can vary.

    Source: Gubin, Polyak & Raik (1967), "The method of projections for finding the common point of convex sets".
    """
    moved = dict(values)
    halves: list[tuple[list[str], FloatArray, FloatArray, Inequality, float]] = []
    for inequality in inequalities:
        if not inequality.applies(values):
            continue
        paths = [path for path in inequality.weights if path in boxes and path in values]
        widths = np.array([boxes[path].high - boxes[path].low for path in paths])
        # The normal in units of the ranges, so that a range of hours and one of fractions move alike.
        normal = np.array([inequality.weights[path] for path in paths]) * widths
        aim = inequality.bound - (margin + TOLERANCE * inequality.is_strict) * float(np.abs(normal).sum())
        halves.append((paths, widths, normal, inequality, aim))
    for _ in range(200):
        is_done = True
        for paths, widths, normal, inequality, aim in halves:
            excess = inequality.left_side(moved) - aim
            squared = float(normal @ normal)
            if excess <= 0 or squared == 0:
                continue
            is_done = False
            for path, width, part in zip(paths, widths, normal, strict=True):
                box = boxes[path]
                moved[path] = min(max(moved[path] - width * part * excess / squared, box.low), box.high)
        if is_done:
            break
    return moved


def _within(weights: Mapping[str, float], at_most: float | None, at_least: float | None) -> list[Inequality]:
    found = []
    if at_most is not None:
        found.append(Inequality(weights, at_most))
    if at_least is not None:
        found.append(Inequality({path: -weight for path, weight in weights.items()}, -at_least))
    return found
