"""Resampling of results that depend on their neighbours in time, and the interval of a mean per trade.

Trades of the same hour share the market, trades of the same token share its price. Both are kept together by
resampling whole periods, by the time of the call, and periods that follow each other in blocks of random length.

Source: Politis & Romano (1994), "The Stationary Bootstrap", Journal of the American Statistical Association 89.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.metrics import NO_SPREAD
from quantbot_pipeline.errors import EvidenceError

PERIODS_SECONDS = (86_400, 21_600, 3_600)
"""Lengths of a period that are tried, longest first: a day, six hours, an hour."""

ENOUGH_PERIODS = 50
"""The first length that gives this many periods with calls is taken, else the shortest."""

SPREAD_FLOOR = 0.3
"""A resample in which the spread falls below this share of the real one is taken to have that much.

Without it, resamples that miss the few large results of a sparse trial have almost no spread and rule the test.
"""


@dataclass(frozen=True, slots=True)
class Periods:
    """Periods with at least one call, oldest first.

    Attributes:
        row: Period of each call, from 0; int64, shape (n_calls,).
        count: Number of periods.
        seconds: Length of a period.
        block_rows: Mean number of periods that are resampled together, at least 1.
    """

    row: IntArray
    count: int
    seconds: int
    block_rows: float


@dataclass(frozen=True, slots=True)
class MeanResult:
    """The mean result of trades that depend on each other, and what it could be by chance.

    Attributes:
        mean: Mean result per trade, fraction of its capital.
        low: Lower end of the interval; with the confidence of one side, the true mean is above it.
        high: Upper end, likewise.
        confidence: Of either end alone, such as 0.95 (together, the interval has 0.9).
        p_value: How often trades without an edge show a mean this far above 0.
        standard_error: Of the mean, with the dependence within blocks.
        deviation: std(ddof=1) of the single results.
        trade_count: Number of trades.
        period_count: Number of periods with trades.
        independent_count: To how many independent trades they amount: (deviation / standard_error)².
    """

    mean: float
    low: float
    high: float
    confidence: float
    p_value: float
    standard_error: float
    deviation: float
    trade_count: int
    period_count: int
    independent_count: float

    def detectable_edge(self, power: float = 0.8) -> float:
        """Return the true mean, in deviations of a single result, that as many trades would show with this power."""
        normal = NormalDist()
        errors = normal.inv_cdf(self.confidence) + normal.inv_cdf(power)
        return errors * self.standard_error / self.deviation if self.deviation else math.inf


def periods_of_calls(
    signal_timestamp: IntArray, done_at: IntArray | None = None, *, period_seconds: int | None = None
) -> Periods:
    """Return the periods of calls.

    Blocks are as long as nine of ten trades last, and at least the cube root of the number of periods, because
    markets rise and fall over more than one period.

    Args:
        signal_timestamp: When each call was made, seconds, shape (n_calls,), in any order.
        done_at: When its trade was done, seconds; None for trades that end within their period.
        period_seconds: Length of a period; None takes the first of `PERIODS_SECONDS` with `ENOUGH_PERIODS`.

    Raises:
        EvidenceError: there are no calls, or the period is shorter than 1 second.
    """
    if not len(signal_timestamp) or (period_seconds is not None and period_seconds < 1):
        raise EvidenceError(
            f"{len(signal_timestamp)} calls in periods of {period_seconds} s; allowed is at least 1 call and 1 s"
        )
    lengths = PERIODS_SECONDS if period_seconds is None else (period_seconds,)
    for seconds in lengths:
        present, row = np.unique(signal_timestamp // seconds, return_inverse=True)
        if len(present) >= ENOUGH_PERIODS:
            break
    lasting = 0.0 if done_at is None else float(np.quantile(done_at - signal_timestamp, 0.9)) / seconds
    # Blocks beyond a tenth of the rows leave too few of them to draw from.
    block_rows = max(1.0, min(max(lasting + 1, len(present) ** (1 / 3)), len(present) / 10))
    return Periods(row=row.astype(np.int64), count=len(present), seconds=seconds, block_rows=block_rows)


def sum_by_period(results: FloatArray, periods: Periods) -> FloatArray:
    """Return the sum of results per period.

    Args:
        results: Per call, shape (n_calls,) or (n_calls, n_trials).
        periods: Of the same calls.

    Returns:
        Shape (n_periods,) or (n_periods, n_trials).
    """
    if results.ndim == 1:
        # numpy's stubs take it for counts, which it is without weights.
        sums: FloatArray = np.bincount(periods.row, weights=results, minlength=periods.count).astype(np.float64)
        return sums
    of_trials = np.empty((periods.count, results.shape[1]))
    # One by one, so that the bits of a trial's sums do not depend on the trials beside it.
    for trial in range(results.shape[1]):
        of_trials[:, trial] = sum_by_period(results[:, trial], periods)
    return of_trials


def stationary_bootstrap_counts(
    row_count: int, *, draws: int, block_rows: float, rng: np.random.Generator
) -> FloatArray:
    """Return how often each row is in each resample: blocks of rows with a geometric length, joined at the ends.

    Args:
        row_count: Rows, at least 1.
        draws: Resamples, at least 1.
        block_rows: Mean length of a block, at least 1; 1 draws rows independently.
        rng: Source of chance.

    Returns:
        Counts, float64 for products with results, shape (draws, row_count); each row of them sums to row_count.

    Raises:
        EvidenceError: an argument is out of bounds.
    """
    if row_count < 1 or draws < 1 or not block_rows >= 1:
        raise EvidenceError(
            f"{draws} resamples of {row_count} rows in blocks of {block_rows}; allowed is at least 1 of each"
        )
    starts_block = rng.random((draws, row_count)) < 1 / block_rows
    starts_block[:, 0] = True
    begins = rng.integers(row_count, size=(draws, row_count))
    place = np.arange(row_count)
    block_start = np.maximum.accumulate(np.where(starts_block, place, 0), axis=1)
    drawn = (np.take_along_axis(begins, block_start, axis=1) + place - block_start) % row_count
    flat = (drawn + np.arange(draws)[:, None] * row_count).ravel()
    return np.bincount(flat, minlength=draws * row_count).reshape(draws, row_count).astype(np.float64)


def block_correction(row_count: int, block_rows: float) -> float:
    """Return by what factor resamples in blocks understate the deviation of a mean.

    Rows that do not depend on each other look as if they did, the other way round: the sample's autocovariances are
    -variance / T each, because rows are measured from their own mean. Of the 2 L - 1 lags in a block of L rows, this
    takes the share (2 L - 1) / T from the variance of a resampled mean.
    """
    return 1 / math.sqrt(1 - (2 * block_rows - 1) / row_count)


def mean_result(
    pnl: FloatArray, periods: Periods, *, seed: int, draws: int = 999, confidence: float = 0.95
) -> MeanResult | None:
    """Return the mean result of trades with its interval and the probability of such a mean without an edge.

    The mean is studentised in every resample (bootstrap-t), which follows skewed results better than quantiles of
    the mean do.

    Args:
        pnl: Net result of each trade, shape (n_trades,).
        periods: Periods of the same trades.
        seed: Seed of the resamples.
        draws: Resamples.
        confidence: Of either end of the interval, above 0.5 and below 1.

    Returns:
        None below 2 periods with trades, or when the results do not vary.

    Raises:
        EvidenceError: an argument is out of bounds.

    Source: Davison & Hinkley (1997), "Bootstrap Methods and their Application", section 5.2 (studentised intervals).
    """
    if not 0.5 < confidence < 1:
        raise EvidenceError(f"confidence is {confidence}; allowed is a number above 0.5 and below 1")
    if periods.count < 2 or float(np.std(pnl)) <= NO_SPREAD * float(np.abs(pnl).max()):
        return None
    sums = sum_by_period(pnl, periods)
    trades = sum_by_period(np.ones(len(pnl)), periods)
    mean = float(pnl.mean())
    small_sample = math.sqrt(periods.count / (periods.count - 1))
    error = math.sqrt(float(np.sum((sums - mean * trades) ** 2))) / len(pnl) * small_sample
    if error <= NO_SPREAD * abs(mean):
        return None
    counts = stationary_bootstrap_counts(
        periods.count, draws=draws, block_rows=periods.block_rows, rng=np.random.default_rng(seed)
    )
    drawn_trades = counts @ trades
    drawn_mean = counts @ sums / drawn_trades
    squares = counts @ sums**2 - 2 * drawn_mean * (counts @ (sums * trades)) + drawn_mean**2 * (counts @ trades**2)
    drawn_error = np.sqrt(np.maximum(squares, 0.0)) / drawn_trades * small_sample
    correction = block_correction(periods.count, periods.block_rows)
    statistic = correction * (drawn_mean - mean) / np.maximum(drawn_error, SPREAD_FLOOR * error)
    tails = np.quantile(statistic, [1 - confidence, confidence])
    # Resamples know the dependence between periods of a block, the formula above only that within a period.
    dependent_error = max(error, correction * float(np.std(drawn_mean, ddof=1))) if draws > 1 else error
    deviation = float(np.std(pnl, ddof=1))
    return MeanResult(
        mean=mean,
        low=mean - float(tails[1]) * error,
        high=mean - float(tails[0]) * error,
        confidence=confidence,
        p_value=(1 + int(np.count_nonzero(statistic >= mean / error))) / (draws + 1),
        standard_error=dependent_error,
        deviation=deviation,
        trade_count=len(pnl),
        period_count=periods.count,
        independent_count=min(float(len(pnl)), (deviation / dependent_error) ** 2),
    )
