"""Probabilistic and deflated Sharpe ratio, the shortest telling track record, the number of independent trials.

Sharpe ratios here are per period, never annualised; kurtosis is 3 for normal returns.

Sources: Bailey & López de Prado (2012), "The Sharpe Ratio Efficient Frontier", Journal of Risk 15(2) (probabilistic
Sharpe ratio, minimum track record length); Bailey & López de Prado (2014), "The Deflated Sharpe Ratio", Journal of
Portfolio Management 40(5) (deflated ratio, expected maximum, number of independent trials).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.engine.metrics import NO_SPREAD
from quantbot_pipeline.errors import EvidenceError

_NORMAL = NormalDist()
_EULER_MASCHERONI = 0.577_215_664_901_532_9


@dataclass(frozen=True, slots=True)
class SharpeMoments:
    """What the tests need of one series of returns.

    Attributes:
        sharpe: Mean / std(ddof=1) per period.
        skew: Third standardised moment, 0 for symmetric returns.
        kurtosis: Fourth standardised moment, 3 for normal returns.
        period_count: Number of periods.
    """

    sharpe: float
    skew: float
    kurtosis: float
    period_count: int


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """The deflated Sharpe ratio of the winner of a search.

    Attributes:
        probability: That the true Sharpe ratio is above `threshold`, the deflated Sharpe ratio itself; in [0, 1].
        moments: Of the winner's returns.
        threshold: Sharpe ratio that the best of as many trials without an edge is expected to have.
        trial_count: Trials that were made.
        independent_count: To how many independent trials they amount.
        sharpe_variance: Variance of the trials' Sharpe ratios.
    """

    probability: float
    moments: SharpeMoments
    threshold: float
    trial_count: int
    independent_count: float
    sharpe_variance: float


def sharpe_moments(returns: FloatArray) -> SharpeMoments | None:
    """Return the moments of returns per period, shape (n,); None below 3 periods or when they do not vary."""
    if len(returns) < 3:
        return None
    mean = float(returns.mean())
    centred = returns - mean
    second = float(np.mean(centred**2))
    if math.sqrt(second) <= NO_SPREAD * float(np.abs(returns).max()):
        return None
    return SharpeMoments(
        sharpe=mean / math.sqrt(second * len(returns) / (len(returns) - 1)),
        skew=float(np.mean(centred**3)) / second**1.5,
        kurtosis=float(np.mean(centred**4)) / second**2,
        period_count=len(returns),
    )


def probabilistic_sharpe(moments: SharpeMoments, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio is above a benchmark.

    PSR = Φ((SR - SR*) · sqrt(T - 1) / sqrt(1 - skew · SR + (kurtosis - 1) / 4 · SR²)).

    Source: Bailey & López de Prado (2012), equation 11.
    """
    difference = (moments.sharpe - benchmark) * math.sqrt(moments.period_count - 1)
    return _NORMAL.cdf(difference / math.sqrt(_variance_factor(moments)))


def minimum_track_record(moments: SharpeMoments, benchmark: float = 0.0, *, confidence: float = 0.95) -> float | None:
    """Return how many periods show, with confidence, that the true Sharpe ratio is above a benchmark.

    MinTRL = 1 + (1 - skew · SR + (kurtosis - 1) / 4 · SR²) · (Z(confidence) / (SR - SR*))².

    Returns:
        Number of periods, not rounded; None when the ratio is not above the benchmark: no length shows it.

    Raises:
        EvidenceError: confidence is not above 0.5 and below 1.

    Source: Bailey & López de Prado (2012), equation 13.
    """
    if not 0.5 < confidence < 1:
        raise EvidenceError(f"confidence is {confidence}; allowed is a number above 0.5 and below 1")
    if moments.sharpe <= benchmark:
        return None
    return 1 + _variance_factor(moments) * (_NORMAL.inv_cdf(confidence) / (moments.sharpe - benchmark)) ** 2


def expected_best_sharpe(independent_count: float, sharpe_variance: float) -> float:
    """Return the Sharpe ratio that the best of independent trials without an edge is expected to have.

    SR0 = sqrt(V) · ((1 - g) · Z(1 - 1 / N) + g · Z(1 - 1 / (N · e))), g the Euler-Mascheroni constant 0.5772; an
    approximation for large N, so it is kept at 0 or above (one trial is expected to have 0).

    Raises:
        EvidenceError: fewer than 1 trial, or a variance below 0.

    Source: Bailey & López de Prado (2014), equation 1.
    """
    if independent_count < 1 or sharpe_variance < 0:
        raise EvidenceError(
            f"{independent_count} independent trials with a variance of {sharpe_variance} of their Sharpe ratios; "
            "allowed is at least 1 trial and a variance of 0 or more"
        )
    if independent_count == 1:
        return 0.0
    typical = _NORMAL.inv_cdf(1 - 1 / independent_count)
    rare = _NORMAL.inv_cdf(1 - 1 / (independent_count * math.e))
    best = (1 - _EULER_MASCHERONI) * typical + _EULER_MASCHERONI * rare
    return math.sqrt(sharpe_variance) * max(0.0, best)


def deflated_sharpe(moments: SharpeMoments, independent_count: float, sharpe_variance: float) -> float:
    """Return the probability that the true Sharpe ratio is above what luck gives the best of the trials.

    Source: Bailey & López de Prado (2014), equation 2.
    """
    return probabilistic_sharpe(moments, expected_best_sharpe(independent_count, sharpe_variance))


def independent_trial_count(returns: FloatArray) -> float:
    """Return to how many independent trials the trials of a search amount.

    r + (1 - r) · N, with r the mean correlation of two trials' returns, kept in [0, 1]: N trials that never move
    together count N, N copies of one count 1. Trials whose returns do not vary are left out.

    The participation ratio of the correlations' eigenvalues would count far fewer (with correlation r everywhere,
    at most 1 / r²), too few for the best of them: small differences of many trials still let one stand out.

    Args:
        returns: Shape (n_periods, n_trials).

    Returns:
        At least 1.

    Source: Bailey & López de Prado (2014), appendix A.3.
    """
    centred = returns - returns.mean(axis=0)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    varies = spread > NO_SPREAD * np.abs(returns).max(axis=0, initial=0.0)
    count = int(varies.sum())
    if count < 2:
        return 1.0
    # The sum of all correlations is the square of the sum of standardised returns: no matrix of trial pairs.
    total = np.sum(centred[:, varies] / spread[varies], axis=1)
    all_correlations = float(np.mean(total**2))
    mean_correlation = min(1.0, max(0.0, (all_correlations - count) / (count * (count - 1))))
    return mean_correlation + (1 - mean_correlation) * count


def deflate_winner(returns: FloatArray, winner: int, *, trial_count: int | None = None) -> DeflatedSharpe | None:
    """Return the deflated Sharpe ratio of the winner among the trials of a search.

    The variance of the Sharpe ratios is that between the trials, as in the paper. Trials that move together share
    their luck, which this variance does not see; therefore it is only reported, and `reality_check` decides.

    Args:
        returns: Shape (n_periods, n_trials).
        winner: Column of the winner.
        trial_count: Trials of the whole search when `returns` holds only some of them; at least as many.

    Returns:
        None when the winner's returns do not vary.

    Raises:
        EvidenceError: the winner is not among the trials, or trial_count is below their number.
    """
    column_count = returns.shape[1]
    made = column_count if trial_count is None else trial_count
    if not 0 <= winner < column_count or made < column_count:
        raise EvidenceError(
            f"winner {winner} and {made} trials made, but returns of {column_count}; allowed is a column from 0 to "
            f"{column_count - 1} and a number of trials that is not smaller"
        )
    moments = sharpe_moments(returns[:, winner])
    if moments is None:
        return None
    spread = returns.std(axis=0, ddof=1)
    varies = spread > NO_SPREAD * np.abs(returns).max(axis=0)
    sharpes = returns[:, varies].mean(axis=0) / spread[varies]
    variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    independent = independent_trial_count(returns) * made / column_count
    threshold = expected_best_sharpe(independent, variance)
    return DeflatedSharpe(
        probability=probabilistic_sharpe(moments, threshold),
        moments=moments,
        threshold=threshold,
        trial_count=made,
        independent_count=independent,
        sharpe_variance=variance,
    )


def _variance_factor(moments: SharpeMoments) -> float:
    """Return T - 1 times the variance of the estimated Sharpe ratio.

    Moments of real returns never make it negative (kurtosis >= 1 + skew²), moments that somebody typed may.
    """
    factor = 1 - moments.skew * moments.sharpe + (moments.kurtosis - 1) / 4 * moments.sharpe**2
    if factor <= 0 or moments.period_count < 2:
        raise EvidenceError(
            f"no returns have skew {moments.skew} and kurtosis {moments.kurtosis} (and {moments.period_count} "
            "periods); allowed is a kurtosis of at least 1 + skew² and at least 2 periods"
        )
    return factor
