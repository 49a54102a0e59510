"""Pareto fronts: of several scores per trial, the trials that no other one beats.

A trial beats another when no score of it is lower and one is higher. Equal trials do not beat each other, so
both stay. Scores are better when they are higher; trials without scores (None) are on no front.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray

DEFAULT_FRONT_CAPACITY = 1_000


def pareto_front(scores: Sequence[Sequence[float] | None]) -> list[int]:
    """Return the positions of the scores that no others beat, ascending.

    Args:
        scores: One sequence per trial, all of one length; None, or a value that is NaN: not on the front.
    """
    front = ParetoFront(capacity=None)
    for index, values in enumerate(scores):
        if values is not None:
            front.add(index, values)
    return sorted(front.indices)


def domination_ranks(scores: Sequence[Sequence[float] | None]) -> list[int]:
    """Return for each trial how many fronts must be taken away before it is on one; None comes last.

    Args:
        scores: As for `pareto_front`.

    Returns:
        0 for the front itself, 1 for the front of the rest, and so on.
    """
    ranks = [-1] * len(scores)
    left = [k for k, values in enumerate(scores) if values is not None and not any(map(math.isnan, values))]
    rank = 0
    while left:
        front = {left[k] for k in pareto_front([scores[k] for k in left])}
        for k in front:
            ranks[k] = rank
        left = [k for k in left if k not in front]
        rank += 1
    return [rank if found < 0 else found for found in ranks]


@dataclass(frozen=True, slots=True)
class FrontMember:
    """A trial on a front: its index, and its scores."""

    index: int
    scores: tuple[float, ...]


class ParetoFront:
    """A front that grows trial by trial, in any order, and keeps a bounded number of them.

    Args:
        capacity: How many trials it keeps, at least 2 per score; None keeps all. Above it the one in the
            densest place leaves (the smallest crowding distance; of equals, the later trial), which
            `dropped_count` counts. The best of every single score always stay.

    Source: Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II", III.B.
    """

    def __init__(self, *, capacity: int | None = DEFAULT_FRONT_CAPACITY) -> None:
        self._capacity = capacity
        self._indices: list[int] = []
        self._scores: FloatArray = np.empty((0, 0))
        self.dropped_count = 0

    @property
    def indices(self) -> list[int]:
        """Indices of the trials on the front, in the order in which they came."""
        return list(self._indices)

    def members(self) -> list[FrontMember]:
        """Return the trials on the front by descending first score; of equals, the earlier trial first."""
        found = [
            FrontMember(index, tuple(float(value) for value in row))
            for index, row in zip(self._indices, self._scores, strict=True)
        ]
        return sorted(found, key=lambda member: (tuple(-value for value in member.scores), member.index))

    def add(self, index: int, scores: Sequence[float]) -> bool:
        """Take a trial if no other one beats it; those that it beats leave.

        Returns:
            Whether it is on the front now.
        """
        row = np.asarray(scores, dtype=np.float64)
        if np.isnan(row).any():
            return False
        if not self._indices:
            self._indices, self._scores = [index], row.reshape(1, -1)
            return True
        if ((self._scores >= row).all(axis=1) & (self._scores > row).any(axis=1)).any():
            return False
        is_beaten: BoolArray = np.asarray((self._scores <= row).all(axis=1) & (self._scores < row).any(axis=1))
        stays = ~is_beaten
        if is_beaten.any():
            self._indices = [kept for kept, is_kept in zip(self._indices, stays, strict=True) if is_kept]
            self._scores = self._scores[stays]
        self._indices.append(index)
        self._scores = np.vstack([self._scores, row])
        if self._capacity is not None and len(self._indices) > self._capacity:
            return self._drop_densest() != index
        return True

    def _drop_densest(self) -> int:
        distances = crowding_distances(self._scores)
        densest = min(range(len(self._indices)), key=lambda k: (distances[k], -self._indices[k]))
        dropped = self._indices.pop(densest)
        self._scores = np.delete(self._scores, densest, axis=0)
        self.dropped_count += 1
        return dropped


def crowding_distances(scores: FloatArray) -> FloatArray:
    """Return how much room each trial has around it, in units of the scores' ranges; the ends have infinite room.

    Args:
        scores: Shape (n_trials, n_goals), finite.

    Source: Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II", III.B.
    """
    distances = np.zeros(len(scores))
    for column in scores.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        spread = ordered[-1] - ordered[0]
        distances[order[[0, -1]]] = np.inf
        if spread > 0:
            distances[order[1:-1]] += (ordered[2:] - ordered[:-2]) / spread
    return distances
