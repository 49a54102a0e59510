"""Probability of backtest overfitting, by combinatorially symmetric cross-validation.

The periods are cut into blocks; for every choice of half of them, the trial that is best there is looked up among
all trials on the other half. Overfitting is when it lands in the worse half.

Source: Bailey, Borwein, López de Prado & Zhu (2017), "The Probability of Backtest Overfitting", Journal of
Computational Finance 20(4).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.metrics import NO_SPREAD
from quantbot_pipeline.errors import EvidenceError

Measure = Literal["mean", "sharpe"]

_MAX_BLOCKS = 20
_SPLITS_AT_ONCE = 256

_ONE_THREAD = 1
"""Threads of matrix products: with an inner size of the number of blocks they only wait for each other."""


@dataclass(frozen=True, slots=True)
class OverfittingEstimate:
    """What choosing the best trial on half of the periods is worth on the other half.

    Attributes:
        probability: Share of splits in which the trial that is best on one half is no better than the median on the
            other: the probability of backtest overfitting.
        loss_probability: Share of splits in which it lost on the other half.
        degradation_slope: Slope of its measure on the other half against that where it was chosen; None when the
            latter does not vary.
        logits: ln(rank / (1 - rank)) per split, rank in (0, 1) from worst to best; float64, shape (n_splits,).
        chosen_measure: Its measure where it was chosen, float64, shape (n_splits,).
        other_measure: Its measure on the other half, float64, shape (n_splits,).
        block_count: Number of blocks.
    """

    probability: float
    loss_probability: float
    degradation_slope: float | None
    logits: FloatArray
    chosen_measure: FloatArray
    other_measure: FloatArray
    block_count: int


def overfitting_estimate(
    returns: FloatArray, *, block_count: int = 16, measure: Measure = "sharpe"
) -> OverfittingEstimate:
    """Return the probability of backtest overfitting of a search.

    Blocks are of equal length, give or take a period. Trials of equal rank share their mean rank. With a Sharpe
    ratio, a trial that does not vary on a half has the ratio 0 there.

    Args:
        returns: Result per period, shape (n_periods, n_trials), at least 2 periods per block and 2 trials.
        block_count: Number of blocks, even, from 2 to 20; all C(S, S / 2) choices are tried.
        measure: What the best trial is chosen by: the mean result or the Sharpe ratio per period.

    Raises:
        EvidenceError: an argument is out of bounds, or a result is not a finite number.
    """
    period_count, trial_count = returns.shape
    if block_count % 2 or not 2 <= block_count <= _MAX_BLOCKS:
        raise EvidenceError(f"{block_count} blocks; allowed is an even number from 2 to {_MAX_BLOCKS}")
    if trial_count < 2 or period_count < 2 * block_count:
        raise EvidenceError(
            f"{trial_count} trials over {period_count} periods in {block_count} blocks; allowed are at least 2 trials "
            "and 2 periods per block: take shorter periods or fewer blocks"
        )
    if not np.isfinite(returns).all():
        raise EvidenceError("results hold values that are not finite; a period without trades has the result 0")
    edges = np.arange(block_count) * period_count // block_count
    blocks = _Blocks.cut(returns, edges)
    # The other half of a split is a split itself: half of them, each read both ways.
    halves = np.array([(0, *others) for others in itertools.combinations(range(1, block_count), block_count // 2 - 1)])
    logits, chosen, other = [], [], []
    with threadpool_limits(limits=_ONE_THREAD):
        for at in range(0, len(halves), _SPLITS_AT_ONCE):
            batch = halves[at : at + _SPLITS_AT_ONCE]
            is_taken = np.zeros((len(batch), block_count))
            np.put_along_axis(is_taken, batch, 1.0, axis=1)
            first, second = blocks.measure(is_taken, measure), blocks.measure(1 - is_taken, measure)
            for choosing, testing in ((first, second), (second, first)):
                best = choosing.argmax(axis=1)[:, None]
                tested = np.take_along_axis(testing, best, axis=1)
                below = np.count_nonzero(testing < tested, axis=1)
                equal = np.count_nonzero(testing == tested, axis=1)
                rank = (below + (equal + 1) / 2) / (trial_count + 1)
                logits.append(np.log(rank / (1 - rank)))
                chosen.append(np.take_along_axis(choosing, best, axis=1)[:, 0])
                other.append(tested[:, 0])
    all_logits, all_chosen, all_other = np.concatenate(logits), np.concatenate(chosen), np.concatenate(other)
    return OverfittingEstimate(
        probability=float(np.mean(all_logits <= 0)),
        loss_probability=float(np.mean(all_other < 0)),
        degradation_slope=_slope(all_chosen, all_other),
        logits=all_logits,
        chosen_measure=all_chosen,
        other_measure=all_other,
        block_count=block_count,
    )


@dataclass(frozen=True, slots=True)
class _Blocks:
    """What a mean and a deviation need of each block; sums are of results without their overall mean."""

    length: FloatArray
    total: FloatArray
    square: FloatArray
    mean: FloatArray
    scale: FloatArray

    @staticmethod
    def cut(returns: FloatArray, edges: IntArray) -> "_Blocks":
        # Without their mean, squares lose no digits to it.
        mean = returns.mean(axis=0)
        centred = returns - mean
        return _Blocks(
            length=np.diff(np.append(edges, len(returns))).astype(np.float64),
            total=np.add.reduceat(centred, edges, axis=0),
            square=np.add.reduceat(centred**2, edges, axis=0),
            mean=mean,
            scale=np.abs(returns).max(axis=0),
        )

    def measure(self, is_taken: FloatArray, measure: Measure) -> FloatArray:
        """Return the measure of every trial over the blocks taken, shape (n_splits, n_trials)."""
        length = (is_taken @ self.length)[:, None]
        centred_mean = is_taken @ self.total / length
        mean = centred_mean + self.mean
        if measure == "mean":
            return mean
        variance = (is_taken @ self.square - length * centred_mean**2) / (length - 1)
        spread = np.sqrt(np.maximum(variance, 0.0))
        varies = spread > math.sqrt(NO_SPREAD) * self.scale
        return np.divide(mean, spread, out=np.zeros_like(mean), where=varies)


def _slope(chosen: FloatArray, other: FloatArray) -> float | None:
    centred = chosen - chosen.mean()
    square = float(centred @ centred)
    if math.sqrt(square / len(chosen)) <= NO_SPREAD * float(np.abs(chosen).max()):
        return None
    return float(centred @ other) / square
