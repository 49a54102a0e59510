"""Samplers that need no Optuna: random, grid, quasi-random and CMA-ES; and what all samplers have in common.

A proposer hands out batches of parameters and learns from whole batches. What it proposes depends on the
seed, on the number of the batch and on what it was told before, and on nothing else: not on how many workers
evaluate, in which order they finish, or whether the process is a new one.

Proposals that break a constraint, or that the strategy model refuses, are drawn again; after `MAX_DRAWS` of
them the first is repaired (`SearchSpace.repair`). Only a grid hands out what is refused: its points are what
they are.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.grid_points import Grid
from quantbot_pipeline.optimization.parameters import CategoricalParameter, value_count
from quantbot_pipeline.optimization.spaces import SearchSpace

MAX_DRAWS = 32
"""How often a proposal is drawn before it is repaired; a third of all draws valid leaves 1 in 400 000 to repair."""

# Points that a quasi-random sequence makes at once; a power of two, as its balance asks for.
_SOBOL_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a trial.

    Attributes:
        index: Position within the study, from 0.
        params: Path → value.
        values: Score per goal, higher is better; None when there are none.
        violation: How far it is from having scores, above 0 without values: samplers prefer less of it.
    """

    index: int
    params: dict[str, Any]
    values: tuple[float, ...] | None
    violation: float = 0.0


class Proposer(Protocol):
    """What a study asks for parameters.

    Attributes:
        is_replayed: Whether a new proposer must hand out all earlier batches again before it goes on; the
            others only need to be told.
    """

    is_replayed: bool

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return the parameters of the trials of a batch; batches are asked for in order."""
        ...

    def learn(self, results: Sequence[Told]) -> None:
        """Take the results of a whole batch, in the order of the trials."""
        ...


def batch_generator(seed: int, batch: int) -> np.random.Generator:
    """Return the random numbers of a batch."""
    return np.random.default_rng([seed, batch])


def draw_valid(
    space: SearchSpace,
    draw: Callable[[], dict[str, Any]],
    generator: np.random.Generator,
    *,
    max_draws: int = MAX_DRAWS,
) -> tuple[dict[str, Any], bool]:
    """Return valid parameters, and whether they are a draw as it came (else one that was repaired)."""
    first = None
    for _ in range(max_draws):
        params = draw()
        if space.is_valid(params):
            return params, True
        first = first or params
    return space.repair(first or {}, choice=int(generator.integers(2**31))), False


class RandomProposer:
    """Draws every parameter evenly over its values (or their logarithms)."""

    is_replayed = False

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        self._space, self._seed = space, seed

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return the parameters of a batch."""
        generator = batch_generator(self._seed, batch)
        size = len(self._space.parameters)

        def draw() -> dict[str, Any]:
            return self._space.from_units(generator.random(size).tolist())

        return [draw_valid(self._space, draw, generator)[0] for _ in indices]

    def learn(self, results: Sequence[Told]) -> None:
        """Nothing is learnt."""


class GridProposer:
    """Goes through the grid: trial k is point k, valid or not."""

    is_replayed = False

    def __init__(self, space: SearchSpace) -> None:
        self._grid = Grid(space)
        self.point_count = self._grid.point_count

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:  # noqa: ARG002  the protocol's
        """Return the points at the indices."""
        return [self._grid.point(index) for index in indices]

    def learn(self, results: Sequence[Told]) -> None:
        """Nothing is learnt."""


class QuasiRandomProposer:
    """Covers the space evenly with a scrambled Sobol sequence; refused points of it are passed over.

    Source: Owen (1998), "Scrambling Sobol' and Niederreiter-Xing points"; scipy.stats.qmc.
    """

    is_replayed = True

    def __init__(self, space: SearchSpace, *, seed: int) -> None:
        from scipy.stats import qmc

        self._space, self._seed = space, seed
        self._sequence = qmc.Sobol(len(space.parameters), scramble=True, rng=np.random.default_rng(seed))
        self._block: list[list[float]] = []

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return the next points of the sequence."""
        generator = batch_generator(self._seed, batch)
        return [draw_valid(self._space, self._next_point, generator)[0] for _ in indices]

    def learn(self, results: Sequence[Told]) -> None:
        """Nothing is learnt."""

    def _next_point(self) -> dict[str, Any]:
        if not self._block:
            self._block = self._sequence.random(_SOBOL_BLOCK)[::-1].tolist()
        return self._space.from_units(self._block.pop())


class CmaEsProposer:
    """Moves a normal distribution over the unit cube towards better trials, and starts anew once it has converged.

    A generation is a whole number of batches. Only the order of a generation's trials counts: those without
    scores come behind all others, by their violation. Whole numbers and steps keep a margin, so that none is
    lost early. Coordinates of parameters that do not exist move freely.

    Source: Hansen (2016), "The CMA Evolution Strategy: A Tutorial"; Hamano et al. (2022), "CMA-ES with margin".
    """

    is_replayed = True

    def __init__(self, space: SearchSpace, *, seed: int, batch_size: int) -> None:
        categorical = [each.path for each in space.parameters if isinstance(each, CategoricalParameter)]
        if categorical:
            raise SearchSpaceError(
                f"sampler 'cmaes' can't vary categorical parameters; found {', '.join(categorical)}; "
                "allowed are float and int: choose tpe, nsga2, qmc or random, or fix them in the template"
            )
        try:
            library = importlib.import_module("cmaes")
        except ImportError as error:
            raise SearchSpaceError(
                "sampler 'cmaes' needs the package cmaes, which is not installed; install it, or choose tpe"
            ) from error
        self._library: Any = library
        self._space, self._seed = space, seed
        # The library takes no single dimension; a second one that nothing reads does no harm.
        self._size = max(2, len(space.parameters))
        least = 4 + math.floor(3 * math.log(self._size))
        self._population = batch_size * math.ceil(least / batch_size)
        self._starts = 0
        self._optimizer: Any = None
        self._asked: list[list[float]] = []
        self._generation: list[tuple[list[float], Told]] = []

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return draws of the distribution as it is."""
        if self._optimizer is None:
            self._start()
        generator = batch_generator(self._seed, batch)
        self._asked, proposals = [], []
        for _ in indices:
            coordinates: list[float] = []

            def draw(to_tell: list[float] = coordinates) -> dict[str, Any]:
                evaluated, told = self._ask()
                to_tell[:] = told
                return self._space.from_units(evaluated)

            params, is_draw = draw_valid(self._space, draw, generator)
            if not is_draw:
                coordinates[: len(self._space.parameters)] = self._space.to_units(params, coordinates)
            self._asked.append(coordinates)
            proposals.append(params)
        return proposals

    def learn(self, results: Sequence[Told]) -> None:
        """Take a batch; the distribution moves once a generation is full."""
        self._generation += zip(self._asked, results, strict=True)
        if len(self._generation) < self._population:
            return
        keys = [_order(told) for _, told in self._generation]
        places = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
        self._optimizer.tell(
            [(np.array(coordinates), places[key]) for (coordinates, _), key in zip(self._generation, keys, strict=True)]
        )
        self._generation = []
        if self._optimizer.should_stop():
            self._start()

    def _ask(self) -> tuple[list[float], list[float]]:
        asked = self._optimizer.ask()
        evaluated, told = asked if isinstance(asked, tuple) else (asked, asked)
        return np.clip(evaluated, 0.0, 1.0).tolist(), told.tolist()

    def _start(self) -> None:
        """Start from the middle, and later from places drawn at random."""
        generator = np.random.default_rng([self._seed, self._starts])
        mean = generator.uniform(0.2, 0.8, self._size) if self._starts else np.full(self._size, 0.5)
        library_seed = int(generator.integers(2**31))
        self._starts += 1
        # Counted values lie in the middle of their share of the unit interval.
        counts = [
            None if each.log else value_count(each)  # type: ignore[union-attr]  # no categorical ones here
            for each in self._space.parameters
        ]
        counts += [None] * (self._size - len(counts))
        steps = np.array([0.0 if count is None or count < 2 else 1 / count for count in counts])
        bounds = np.array([[step / 2, 1 - step / 2] for step in steps])
        options = {"bounds": bounds, "seed": library_seed, "population_size": self._population}
        # A quarter of every range: four fifths of the first draws lie within it.
        self._optimizer = (
            self._library.CMAwM(mean=_on_steps(mean, steps), sigma=0.25, steps=steps, **options)
            if steps.any()
            else self._library.CMA(mean=mean, sigma=0.25, **options)
        )


def _on_steps(mean: FloatArray, steps: FloatArray) -> FloatArray:
    return np.minimum(np.maximum(mean, steps / 2), 1 - steps / 2)


def _order(told: Told) -> tuple[float, float]:
    """Return what sorts better trials first."""
    return (told.violation, 0.0) if told.values is None else (0.0, -told.values[0])
