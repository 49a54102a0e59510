"""Could the best of many trials look as good without any edge? A test of the winner against all trials together.

The trials of a search are tried on the same calls and are neighbours of each other, so they are far from as many
chances as there are trials. Resampling the same periods for all of them keeps how they move together.

Sources: White (2000), "A Reality Check for Data Snooping", Econometrica 68(5); Hansen (2005), "A Test for Superior
Predictive Ability", Journal of Business & Economic Statistics 23(4) (studentising, trials that are clearly bad);
Westfall & Young (1993), "Resampling-Based Multiple Testing" (the adjusted p-value of one trial, `maxT`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import (
    SPREAD_FLOOR,
    Periods,
    block_correction,
    stationary_bootstrap_counts,
)

MIN_ACTIVE_PERIODS = 20
"""A trial that earned or lost something in fewer periods is not tested: resampling so few says nothing."""

_COLUMNS_AT_ONCE = 512

_ONE_THREAD = 1
"""Threads of matrix products: they are small, so threads wait for each other, thrice as long on two busy cores; and the
last digit of a sum depends on their number."""


@dataclass(frozen=True, slots=True)
class WinnerTest:
    """The test of the winner against all trials.

    Attributes:
        p_value: How often the best of all trials without an edge looks at least as good as the winner.
        statistic: The winner's mean result per period, in standard errors.
        tested_count: Trials that were tested.
        untested_count: Trials with results in too few periods.
        typical_best: Median of the best trial's statistic without an edge.
    """

    p_value: float
    statistic: float
    tested_count: int
    untested_count: int
    typical_best: float


class RealityCheck:
    """The distribution of the best of all trials without an edge, gathered in batches of trials.

    Memory does not grow with the number of trials: only the best of each resample is kept. Batches may come in any
    order and size.

    Args:
        periods: Periods of the calls that all trials were tried on.
        seed: Seed of the resamples.
        draws: Resamples.

    Raises:
        EvidenceError: an argument is out of bounds.
    """

    def __init__(self, periods: Periods, *, seed: int, draws: int = 999) -> None:
        self._row_count = periods.count
        self._counts = stationary_bootstrap_counts(
            periods.count, draws=draws, block_rows=periods.block_rows, rng=np.random.default_rng(seed)
        )
        self._scale = block_correction(periods.count, periods.block_rows) * math.sqrt(periods.count - 1)
        self._best = np.full(draws, -np.inf)
        self._tested_count = 0
        self._untested_count = 0
        # Hansen's threshold: a trial this far below 0 is bad for certain and no rival of the best.
        self._certainly_bad = -math.sqrt(2 * math.log(math.log(max(periods.count, 3))))

    def add(self, returns: FloatArray) -> FloatArray:
        """Take trials into account and return their statistics.

        Args:
            returns: Sum of results per period, shape (n_periods, n_trials).

        Returns:
            Mean per period in standard errors, shape (n_trials,); NaN for trials that are not tested.

        Raises:
            EvidenceError: the number of periods is another one, or a result is not a finite number.
        """
        if returns.ndim != 2 or returns.shape[0] != self._row_count:
            raise EvidenceError(f"results of shape {returns.shape}; allowed is ({self._row_count} periods, trials)")
        if not np.isfinite(returns).all():
            raise EvidenceError("results hold values that are not finite; a call that was not bought has the result 0")
        columns = returns.shape[1]
        with threadpool_limits(limits=_ONE_THREAD):
            batches = [self._add(returns[:, at : at + _COLUMNS_AT_ONCE]) for at in range(0, columns, _COLUMNS_AT_ONCE)]
        return np.concatenate(batches) if batches else np.empty(0)

    def test(self, statistic: float) -> WinnerTest | None:
        """Return the test of a trial with this statistic among all that were added; None if it was not tested."""
        if not math.isfinite(statistic) or not self._tested_count:
            return None
        return WinnerTest(
            p_value=(1 + int(np.count_nonzero(self._best >= statistic))) / (len(self._best) + 1),
            statistic=float(statistic),
            tested_count=self._tested_count,
            untested_count=self._untested_count,
            typical_best=float(np.median(self._best)),
        )

    def document(self) -> dict[str, Any]:
        """Return as JSON what was gathered so far."""
        return {
            "best": [value if math.isfinite(value) else None for value in self._best.tolist()],
            "tested": self._tested_count,
            "untested": self._untested_count,
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take what another one of the same periods, seed and draws had gathered, bit by bit."""
        self._best = np.array([-np.inf if value is None else value for value in document["best"]], dtype=np.float64)
        self._tested_count, self._untested_count = document["tested"], document["untested"]

    def _add(self, returns: FloatArray) -> FloatArray:
        rows = self._row_count
        is_tested = np.count_nonzero(returns, axis=0) >= MIN_ACTIVE_PERIODS
        spread = returns.std(axis=0)
        is_tested &= spread > 0
        self._tested_count += int(is_tested.sum())
        self._untested_count += int((~is_tested).sum())
        statistic = np.full(returns.shape[1], np.nan)
        if not is_tested.any():
            return statistic
        tested, spread = returns[:, is_tested], spread[is_tested]
        mean = tested.mean(axis=0)
        statistic[is_tested] = mean / spread * math.sqrt(rows - 1)
        centre = np.where(statistic[is_tested] >= self._certainly_bad, mean, 0.0)
        drawn_mean = self._counts @ tested / rows
        drawn_square = self._counts @ (tested - mean) ** 2 / rows - (drawn_mean - mean) ** 2
        drawn_spread = np.sqrt(np.maximum(drawn_square, (SPREAD_FLOOR * spread) ** 2))
        drawn = (drawn_mean - centre) / drawn_spread * self._scale
        np.maximum(self._best, drawn.max(axis=1), out=self._best)
        return statistic


def winner_test(
    returns: FloatArray, winner: int, periods: Periods, *, seed: int, draws: int = 999
) -> WinnerTest | None:
    """Return the test of the winner against all trials; None if it has results in too few periods.

    Args:
        returns: Sum of results per period, shape (n_periods, n_trials).
        winner: Column of the winner, chosen by whatever measure.
        periods: Periods of the calls.
        seed: Seed of the resamples.
        draws: Resamples.

    Raises:
        EvidenceError: the winner is not among the trials, or results are not finite.
    """
    if not 0 <= winner < returns.shape[1]:
        raise EvidenceError(f"winner {winner} is not among {returns.shape[1]} trials, counted from 0")
    if periods.count < MIN_ACTIVE_PERIODS:
        return None
    check = RealityCheck(periods, seed=seed, draws=draws)
    return check.test(float(check.add(returns)[winner]))
