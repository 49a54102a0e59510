"""What the honest statistics need of a search's trials, gathered in batches and in bounded memory.

Trials come in the order of their numbers. Of each one it takes the result per call; it keeps the best of every resample
(`RealityCheck`), the best trial of every training window with what it earned in the test, the winner, and an even
sample of trials for the statistics that need many series at once.

What it holds of trials follows from their parameters, so a later process goes on from numbers and parameters alone: it
simulates those few trials again, and ends with the same evidence, bit by bit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import Periods, sum_by_period
from quantbot_pipeline.optimization.honesty.reality_check import MIN_ACTIVE_PERIODS, RealityCheck, WinnerTest
from quantbot_pipeline.optimization.honesty.time_splits import PurgedSplit
from quantbot_pipeline.optimization.honesty.walk_forward import UnseenResults, join_windows
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.tally import EvenSample

_BATCH = 256
_SAMPLE_TRIALS = 1_000
_SAMPLE_CELLS = 16_000_000
"""Results per call in the sample of trials at most: 144 MB."""


@dataclass(frozen=True, slots=True)
class ChosenTrial:
    """A trial that was the best of those that were looked at.

    Attributes:
        index: Its number; None for one that has none, because it belongs to a search inside a window.
        params: Path → value.
        score: Higher is better.
        pnl: Result of each call, shape (n_calls,).
        is_bought: Where it bought.
        done_at: When each trade was done, seconds.
    """

    index: int | None
    params: Mapping[str, Any]
    score: float
    pnl: FloatArray = field(repr=False)
    is_bought: BoolArray = field(repr=False)
    done_at: IntArray = field(repr=False)

    @classmethod
    def of(cls, index: int | None, params: Mapping[str, Any], score: float, trial: MeasuredTrial) -> "ChosenTrial":
        """Return a measured trial."""
        return cls(index, params, score, trial.pnl, trial.is_bought, trial.done_at)


@dataclass(frozen=True, slots=True)
class _KeptTrial:
    """The results of a trial per call, and what brings them back."""

    index: int | None
    params: Mapping[str, Any]
    pnl: FloatArray
    is_bought: BoolArray


@dataclass(frozen=True, slots=True)
class SampledTrials:
    """Results per call of some trials.

    Attributes:
        pnl: Net result of each call by each trial, 0 where it did not buy, shape (n_calls, n_trials).
        is_bought: Where it bought, same shape.
    """

    pnl: FloatArray
    is_bought: BoolArray

    @classmethod
    def of(cls, trials: Sequence[tuple[FloatArray, BoolArray]]) -> "SampledTrials":
        """Return the results of trials, each with where it bought; at least one."""
        pnl, is_bought = zip(*trials, strict=True)
        return cls(np.stack(pnl, axis=1), np.stack(is_bought, axis=1))


@dataclass(frozen=True, slots=True)
class _WaitingTrial:
    """A trial that the winner is going to be tested against, and what brings it back."""

    index: int | None
    params: Mapping[str, Any]
    per_period: FloatArray


class SearchEvidence:
    """The series of a search's trials, as far as they are needed.

    Args:
        call_count: Number of calls.
        periods: Periods of the calls.
        window_count: Number of walk-forward windows that trials are looked at in; 0: they are searched anew.
        seed: Seed of all resamples.
        draws: Resamples of the winner's test.

    Attributes:
        winner: The best trial so far by the first goal; of equals, the earlier one.
        chosen: The best trial so far of each window.
        own_count: Trials of the search that were taken.
        laid_out_count: Other trials that were taken.
    """

    def __init__(self, call_count: int, periods: Periods, *, window_count: int, seed: int, draws: int) -> None:
        self._periods = periods
        # No trial has results in enough periods where there are fewer than these.
        is_testable = periods.count >= MIN_ACTIVE_PERIODS
        self._check = RealityCheck(periods, seed=seed, draws=draws) if is_testable else None
        self._waiting: list[_WaitingTrial] = []
        self._sample_size = max(50, min(_SAMPLE_TRIALS, _SAMPLE_CELLS // max(call_count, 1)))
        self._seed = seed
        self._sample = self._new_sample()
        self.winner: ChosenTrial | None = None
        self.chosen: list[ChosenTrial | None] = [None] * window_count
        self.own_count = 0
        self.laid_out_count = 0

    def add(
        self,
        index: int,
        params: Mapping[str, Any],
        trial: MeasuredTrial,
        *,
        score: float | None,
        window_scores: Sequence[float | None] = (),
    ) -> None:
        """Take a trial of the search that was run over all calls.

        Args:
            index: Its number; numbers ascend.
            params: Path → value.
            trial: What came of it.
            score: Of the first goal, over all calls; None without one.
            window_scores: The same over the calls of each training window.
        """
        self.own_count += 1
        self._take(index, params, trial)
        self._sample.add(index, _KeptTrial(index, params, trial.pnl, trial.is_bought))
        if score is not None and (self.winner is None or score > self.winner.score):
            self.winner = ChosenTrial.of(index, params, score, trial)
        for window, found in enumerate(window_scores):
            best = self.chosen[window]
            if found is not None and (best is None or found > best.score):
                self.chosen[window] = ChosenTrial.of(index, params, found, trial)

    def add_laid_out(self, trial: MeasuredTrial) -> None:
        """Take a trial that was laid out beforehand, beside those of a sampler that learns."""
        self.laid_out_count += 1
        self._take(None, {}, trial)

    def winner_test(self) -> WinnerTest | None:
        """Return the test of the winner among all trials; None without one that has results in enough periods."""
        self._flush()
        if self.winner is None or self._check is None:
            return None
        statistic = _statistic(sum_by_period(self.winner.pnl, self._periods))
        return self._check.test(statistic)

    def sample(self) -> tuple[SampledTrials, int]:
        """Return a sample of trials in the order of their numbers, with the winner in the column returned."""
        assert self.winner is not None  # noqa: S101  asked for once there is one
        kept = {index: (trial.pnl, trial.is_bought) for index, trial in self._sample.items()}
        kept[self.winner.index or 0] = self.winner.pnl, self.winner.is_bought
        order = sorted(kept)
        return SampledTrials.of([kept[index] for index in order]), order.index(self.winner.index or 0)

    def document(self) -> dict[str, Any]:
        """Return as JSON what `restore` goes on from; while no trial that was laid out beforehand was taken."""
        chosen = [None if choice is None else [choice.index, choice.score] for choice in self.chosen]
        winner = None if self.winner is None else [self.winner.index, self.winner.score]
        held: list[_WaitingTrial | _KeptTrial] = [*self._waiting, *(trial for _, trial in self._sample.items())]
        params = {trial.index: trial.params for trial in held if trial.index is not None}
        params |= {each.index: each.params for each in (self.winner, *self.chosen) if each and each.index is not None}
        return {
            "trials": [[index, dict(params[index])] for index in sorted(params)],
            "waiting": [trial.index for trial in self._waiting],
            "sample": [index for index, _ in self._sample.items()],
            "winner": winner,
            "chosen": chosen,
            "own_count": self.own_count,
            "check": None if self._check is None else self._check.document(),
        }

    def restore(self, document: Mapping[str, Any], trials: Mapping[int, MeasuredTrial]) -> None:
        """Bring an earlier process's evidence of the same search back, in place of none.

        Args:
            document: What `document` returned there.
            trials: What came of its `trials`, which have to be run again, by their number.
        """
        params = dict(document["trials"])

        def kept(index: int) -> _KeptTrial:
            return _KeptTrial(index, params[index], trials[index].pnl, trials[index].is_bought)

        def choice(found: Sequence[Any] | None) -> ChosenTrial | None:
            return None if found is None else ChosenTrial.of(found[0], params[found[0]], found[1], trials[found[0]])

        self._waiting = [self._waiting_trial(index, params[index], trials[index]) for index in document["waiting"]]
        self._sample = self._new_sample()
        for index in document["sample"]:
            self._sample.add(index, kept(index))
        self.winner = choice(document["winner"])
        self.chosen = [choice(found) for found in document["chosen"]]
        self.own_count = document["own_count"]
        if self._check is not None:
            self._check.restore(document["check"])

    def _take(self, index: int | None, params: Mapping[str, Any], trial: MeasuredTrial) -> None:
        self._waiting.append(self._waiting_trial(index, params, trial))
        if len(self._waiting) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        # Batches have one size whatever came before: the last bits of sums may depend on it.
        if self._waiting and self._check is not None:
            self._check.add(np.stack([trial.per_period for trial in self._waiting], axis=1))
        self._waiting = []

    def _waiting_trial(self, index: int | None, params: Mapping[str, Any], trial: MeasuredTrial) -> _WaitingTrial:
        # Sums alone: a batch of results per call would be gigabytes where calls are many.
        return _WaitingTrial(index, params, sum_by_period(trial.pnl, self._periods))

    def _new_sample(self) -> EvenSample[_KeptTrial]:
        return EvenSample(self._sample_size, seed=self._seed)


def _statistic(returns: FloatArray) -> float:
    """Return the mean of one trial per period in standard errors, as `RealityCheck` has it; NaN if it is not tested."""
    spread = float(returns.std())
    if np.count_nonzero(returns) < MIN_ACTIVE_PERIODS or not spread > 0:
        return math.nan
    return float(returns.mean()) / spread * math.sqrt(len(returns) - 1)


def unseen_results(
    chosen: Sequence[ChosenTrial | None], splits: Sequence[PurgedSplit], *, searched_inside: bool
) -> UnseenResults:
    """Return what the choice of each training window earned in its test window.

    Args:
        chosen: One choice per window; None where no trial had a score.
        splits: The windows.
        searched_inside: Whether no choice knew its test.
    """
    calls: list[IntArray] = []
    pnl: list[FloatArray] = []
    counts: list[int] = []
    numbers: list[int | None] = []
    for choice, split in zip(chosen, splits, strict=True):
        if choice is None:
            numbers.append(None)
            counts.append(0)
            continue
        traded = split.test[choice.is_bought[split.test]]
        calls.append(traded)
        pnl.append(choice.pnl[traded])
        counts.append(len(traded))
        numbers.append(choice.index if choice.index is not None else 0)
    return join_windows(calls, pnl, numbers, counts, searched_inside=searched_inside)
