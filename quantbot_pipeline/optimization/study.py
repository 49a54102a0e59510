"""Studies: propose parameters, learn from scores. Everything stays in memory; the record is kept elsewhere.

Ask for a batch of trials, evaluate them in any order or in parallel, tell their scores, ask again. Batches
have one size per job, whatever the number of workers, and scores reach the sampler in the order of the
trials once their batch is complete: the same space, sampler, seed, size of batches and scores give the same
trials, bit by bit, on any number of workers. A study that is restored from stored trials goes on exactly
where the first one was.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.objectives import UNKNOWN_VIOLATION
from quantbot_pipeline.optimization.parameters import same_json
from quantbot_pipeline.optimization.proposers import (
    CmaEsProposer,
    GridProposer,
    Proposer,
    QuasiRandomProposer,
    RandomProposer,
    Told,
)
from quantbot_pipeline.optimization.spaces import SearchSpace
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

Sampler = Literal["tpe", "random", "grid", "cmaes", "nsga2", "qmc"]

DEFAULT_BATCH_SIZE = 8

REFUSED_VIOLATION = 2 * UNKNOWN_VIOLATION
"""What a sampler is told of a trial that is no strategy or failed: worse than any limit that is missed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal.

    Attributes:
        index: Position within the study, from 0; in a grid the position of the point.
        params: Path → value, of the parameters that exist.
        document: The strategy document with these parameters; None when it was refused.
        strategy: The same, parsed; None when it was refused.
        refusal: Why these parameters give no valid strategy; None for a valid trial. Only grids hand out
            refused trials: they have no scores and need not be told.
    """

    index: int
    params: dict[str, Any]
    document: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    strategy: Strategy | None = field(default=None, repr=False, compare=False)
    refusal: str | None = None


class Study:
    """A search over one space that proposes at most `trial_count` trials.

    Args:
        space: What varies.
        sampler: `tpe`, `nsga2` and `cmaes` learn from scores; `random`, `qmc` and `grid` do not. A grid goes
            through all combinations in the order of the document, the last parameter fastest.
        seed: Seed of the sampler, at least 0; unused by `grid`.
        trial_count: How many trials there are at most, at least 1.
        batch_size: How many trials are asked for at once, at least 1. It is part of what is searched: another
            size gives other trials.
        goal_count: How many scores a trial has, at least 1.

    Raises:
        SearchSpaceError: unknown sampler, a number below what is allowed, or a space or number of goals that
            the sampler can't serve.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        sampler: Sampler,
        seed: int,
        trial_count: int,
        batch_size: int = DEFAULT_BATCH_SIZE,
        goal_count: int = 1,
    ) -> None:
        for name, number, least in (
            ("trial_count", trial_count, 1),
            ("batch_size", batch_size, 1),
            ("goal_count", goal_count, 1),
            ("seed", seed, 0),
        ):
            if number < least:
                raise SearchSpaceError(f"{name} is {number}; allowed is at least {least}")
        self._space = space
        self._goal_count = goal_count
        self._batch_size = batch_size
        self._proposer = _proposer(space, sampler, seed=seed, batch_size=batch_size, goal_count=goal_count)
        self._sampler = sampler
        self._trial_count = (
            min(trial_count, self._proposer.point_count) if isinstance(self._proposer, GridProposer) else trial_count
        )
        self._batches = 0
        # The batch that was asked for last, and what was told of it.
        self._open: dict[int, Trial] = {}
        self._told: dict[int, Told] = {}
        self._stored: dict[int, Told] = {}

    @property
    def trial_count(self) -> int:
        """How many trials the study proposes in all; of a grid at most its number of points."""
        return self._trial_count

    @property
    def asked_count(self) -> int:
        """How many trials were asked for."""
        return min(self._batches * self._batch_size, self._trial_count)

    def ask(self) -> list[Trial]:
        """Return the next batch of trials; empty at the end.

        Trials of the batch that `restore` was given already are not among them. Trials whose parameters give
        no valid strategy are, with their `refusal`.

        Raises:
            SearchSpaceError: a trial of the batch before was not told.
        """
        missing = sorted(self._open.keys() - self._told.keys())
        if missing:
            raise SearchSpaceError(
                f"trial {missing[0]} was not told its scores; a batch is asked for once the one before is complete"
            )
        self._finish_batch()
        indices = self._indices(self._batches)
        if not indices:
            return []
        trials = [
            self._checked(index, params)
            for index, params in zip(indices, self._proposer.propose(self._batches, indices), strict=True)
        ]
        self._batches += 1
        self._open = {trial.index: trial for trial in trials}
        stored_indices = set(self._stored)
        for trial in trials:
            if (stored := self._stored.pop(trial.index, None)) is not None:
                _require_same(trial.params, stored)
                self._told[trial.index] = Told(trial.index, trial.params, stored.values, stored.violation)
            elif trial.refusal is not None:
                self._told[trial.index] = Told(trial.index, trial.params, None, REFUSED_VIOLATION)
        return [trial for trial in trials if trial.index not in stored_indices]

    def tell(self, index: int, values: float | Sequence[float] | None, *, violation: float | None = None) -> None:
        """Report the scores of a trial of the last batch, in any order within it.

        Telling a refused trial that it has none once more is allowed.

        Args:
            index: Of the trial.
            values: One score per goal, higher is better; None when it has none (a NaN is none).
            violation: How far it is from having scores, above 0; taken as far without it. Unused with scores.

        Raises:
            SearchSpaceError: the trial was never asked for, was told before, or the number of scores is not
                that of the goals.
        """
        if index not in self._open or index in self._told:
            is_asked = 0 <= index < self.asked_count
            if is_asked and values is None and (index not in self._open or self._open[index].refusal is not None):
                return
            state = "was told its score already" if is_asked else "was never asked for"
            raise SearchSpaceError(f"trial {index} {state}; {self.asked_count} trials were asked for, from 0 on")
        self._told[index] = _told(index, self._open[index].params, values, violation, self._goal_count)

    def restore(self, stored: Iterable[Told]) -> None:
        """Tell a new study the trials of an earlier process, so that it goes on as that one would have.

        Args:
            stored: Trials of the same study, from 0 on; the last batch may be incomplete. In any order.

        Raises:
            SearchSpaceError: trials were asked for already, are missing within the stored ones, or have other
                parameters than this study proposes: another space, seed, sampler or version made them.
        """
        if self._batches:
            raise SearchSpaceError("a study is restored before its first trial is asked for")
        by_index = {told.index: told for told in stored}
        while by_index:
            indices = self._indices(self._batches)
            if not indices:
                raise SearchSpaceError(
                    f"stored trial {min(by_index)} lies beyond the {self._trial_count} trials of the study"
                )
            if any(index not in by_index for index in indices):
                break
            results = [_normal(by_index.pop(index), self._goal_count) for index in indices]
            if self._proposer.is_replayed:
                for params, told in zip(self._proposer.propose(self._batches, indices), results, strict=True):
                    _require_same(params, told)
            self._proposer.learn(results)
            self._batches += 1
        beyond = by_index.keys() - set(self._indices(self._batches))
        if beyond:
            missing = next(index for index in self._indices(self._batches) if index not in by_index)
            raise SearchSpaceError(
                f"trial {missing} is missing among the stored ones, which go on to {max(beyond)}; only the last "
                f"batch of {self._batch_size} may be incomplete"
            )
        self._stored = {index: _normal(told, self._goal_count) for index, told in by_index.items()}

    def skip(self, batch_count: int) -> None:
        """Go on behind the first batches without being told of them: a grid or random search forgets nothing.

        Raises:
            SearchSpaceError: the sampler needs what it proposed before, or trials were asked for already.
        """
        if self._batches or self._sampler not in ("grid", "random"):
            raise SearchSpaceError(
                f"sampler {self._sampler!r} can't skip batches"
                + (" once trials were asked for" if self._batches else "; restore it from its trials")
            )
        self._batches = min(batch_count, math.ceil(self._trial_count / self._batch_size))

    def _indices(self, batch: int) -> range:
        start = batch * self._batch_size
        return range(start, min(start + self._batch_size, self._trial_count))

    def _finish_batch(self) -> None:
        if self._open:
            self._proposer.learn([self._told[index] for index in sorted(self._open)])
        self._open, self._told = {}, {}

    def _checked(self, index: int, params: dict[str, Any]) -> Trial:
        """Return the trial, refused when its strategy is not valid."""
        try:
            if broken := self._space.broken_constraint(params):
                return Trial(index, params, refusal=broken)
            document = self._space.configuration(params)
            return Trial(index, params, document, parse_strategy({"name": f"trial {index}"} | document))
        except (StrategyError, SearchSpaceError) as e:
            return Trial(index, params, refusal=str(e))


def _proposer(space: SearchSpace, sampler: Sampler, *, seed: int, batch_size: int, goal_count: int) -> Proposer:
    if sampler not in get_args(Sampler):
        raise SearchSpaceError(f"sampler {sampler!r} is unknown; allowed are {', '.join(get_args(Sampler))}")
    if sampler == "cmaes" and goal_count > 1:
        raise SearchSpaceError(
            f"sampler 'cmaes' follows one goal; found {goal_count}; allowed are nsga2, tpe, qmc, random and grid"
        )
    if sampler == "grid":
        return GridProposer(space)
    if sampler == "random":
        return RandomProposer(space, seed=seed)
    if sampler == "qmc":
        return QuasiRandomProposer(space, seed=seed)
    if sampler == "cmaes":
        return CmaEsProposer(space, seed=seed, batch_size=batch_size)
    # Optuna takes a second to import; only these two need it.
    from quantbot_pipeline.optimization.optuna_proposers import NsgaProposer, TpeProposer

    if sampler == "nsga2":
        return NsgaProposer(space, seed=seed, goal_count=goal_count, batch_size=batch_size)
    return TpeProposer(space, seed=seed, goal_count=goal_count)


def _told(
    index: int,
    params: dict[str, Any],
    values: float | Sequence[float] | None,
    violation: float | None,
    goal_count: int,
) -> Told:
    scores = None if values is None else (float(values),) if isinstance(values, int | float) else tuple(values)
    if scores is not None and len(scores) != goal_count:
        raise SearchSpaceError(f"trial {index}: found {len(scores)} scores; allowed are {goal_count}, one per goal")
    if scores is None or not all(map(math.isfinite, scores)):
        # At least the smallest number: a trial without scores is never taken for one that has them.
        return Told(index, params, None, max(violation or UNKNOWN_VIOLATION, 1e-12))
    return Told(index, params, scores)


def _normal(told: Told, goal_count: int) -> Told:
    return _told(told.index, told.params, told.values, told.violation, goal_count)


def _require_same(proposed: Mapping[str, Any], stored: Told) -> None:
    if not same_json(dict(proposed), dict(stored.params)):
        raise SearchSpaceError(
            f"stored trial {stored.index} has the parameters {dict(stored.params)}, but this study proposes "
            f"{dict(proposed)}; it was made from another space, seed, sampler, size of batches or version: start a "
            "new job"
        )
