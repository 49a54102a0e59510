"""Do calls know when? The strategy on calls whose times were moved, and how often it does as well there.

Null hypothesis: *the times of calls carry no information within token and window*. Under it, the prices of a token in
a window and the pattern of its calls could be turned against each other like two rings without a difference. So all
calls of a token in a window (a UTC month, or all its candles) move by the same number of candles, and those that
leave at the end come in at the beginning: the number of calls of each token in each window and the gaps between them
(but for the one that is wrapped) stay as they are, only their place on the chart is chance.

By default tokens turn by the same share of their candles of a window, so that calls made in the same hours stay
near each other: ten calls in one hour of a rising market are one lucky hour, not ten.

The test asks about timing alone: a strategy that earns at any time, because the token rose all month, fails it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import EvidenceError


@dataclass(frozen=True, slots=True)
class _CallsOfWindow:
    """Calls of one token in one window: they turn together."""

    calls: IntArray
    place: IntArray
    offset: IntArray
    candles: IntArray
    window: int


class CallTimeShuffle:
    """Shuffled times of the same calls.

    Args:
        signal_timestamp: When each call was made, seconds, shape (n_calls,).
        token: Token of each call, a position in `candle_timestamps`, shape (n_calls,).
        candle_timestamps: Open times of each token's candles, seconds, ascending.
        by_month: Whether calls stay in their UTC month; False lets them move over all candles of the token.
        together: Whether tokens turn by the same share of their candles of a window.
        seed: Seed of all shuffles.

    Attributes:
        unmoved_count: Calls that never move: their token has fewer than two candles in the window.

    Raises:
        EvidenceError: a call's token is unknown.
    """

    def __init__(
        self,
        signal_timestamp: IntArray,
        token: IntArray,
        candle_timestamps: Sequence[IntArray],
        *,
        seed: int,
        by_month: bool = True,
        together: bool = True,
    ) -> None:
        if len(signal_timestamp) != len(token):
            raise EvidenceError(
                f"found {len(signal_timestamp)} call times and {len(token)} tokens; allowed is one each"
            )
        if len(token) and not 0 <= int(token.min()) <= int(token.max()) < len(candle_timestamps):
            raise EvidenceError(
                f"tokens of calls go from {int(token.min())} to {int(token.max())}, but there are candles of "
                f"{len(candle_timestamps)} tokens, counted from 0"
            )
        self._signal_timestamp = signal_timestamp
        self._together = together
        self._seed = seed
        self._groups: list[_CallsOfWindow] = []
        self.unmoved_count = 0
        months = [_month_bounds(int(time)) for time in signal_timestamp] if by_month else [(0, 0)] * len(token)
        members: dict[tuple[int, tuple[int, int]], list[int]] = {}
        for call, (of_token, window) in enumerate(zip(token.tolist(), months, strict=True)):
            members.setdefault((of_token, window), []).append(call)
        numbers = {window: number for number, window in enumerate(sorted(set(months)))}
        for (of_token, window), listed in members.items():
            candles = candle_timestamps[of_token]
            if by_month:
                candles = candles[slice(*np.searchsorted(candles, window))]
            if len(candles) < 2:
                self.unmoved_count += len(listed)
                continue
            calls = np.array(listed, dtype=np.int64)
            times = signal_timestamp[calls]
            # A call before the first candle acts on the first, as in the engine.
            place = np.maximum(np.searchsorted(candles, times, side="right") - 1, 0)
            # The second within the candle is kept; in a gap, a call waits for the next candle in any case.
            interval = int(np.diff(candles).min())
            offset = np.clip(times - candles[place], 0, interval - 1)
            self._groups.append(_CallsOfWindow(calls, place, offset, candles, numbers[window]))
        self._window_count = len(numbers)

    def draw(self, index: int) -> IntArray:
        """Return the call times of one shuffle, shape (n_calls,), in the order of the calls.

        Args:
            index: Number of the shuffle, from 0; the same number gives the same times, in any order of drawing.
        """
        rng = np.random.default_rng([self._seed, index])
        times = self._signal_timestamp.copy()
        shares = rng.random(self._window_count if self._together else len(self._groups))
        for number, group in enumerate(self._groups):
            share = shares[group.window if self._together else number]
            place = (group.place + int(share * len(group.candles))) % len(group.candles)
            times[group.calls] = group.candles[place] + group.offset
        return times


@dataclass(frozen=True, slots=True)
class PermutationResult:
    """How often shuffled calls did at least as well.

    Attributes:
        p_value: Valid at any level, see `SequentialPermutationTest`.
        at_least_as_good: Shuffles that did at least as well as the real calls.
        shuffle_count: Shuffles made.
        stopped_early: Whether the rest was not needed.
    """

    p_value: float
    at_least_as_good: int
    shuffle_count: int
    stopped_early: bool


class SequentialPermutationTest:
    """A Monte Carlo test that stops as soon as enough shuffles did at least as well.

    With h of them after l shuffles, p = h / l; if all n shuffles were made and g < h did as well,
    p = (g + 1) / (n + 1). Both are valid: without information in the times, p <= 0.05 happens at most in 5 of 100.

    Args:
        observed: The statistic of the real calls, higher is better. For a winner that was chosen among trials it must
            be one that chance could choose again: see `best_of_trials_test`.
        stop_after: h, at least 1.
        at_most: n, at least 1.

    Raises:
        EvidenceError: an argument is out of bounds.

    Source: Besag & Clifford (1991), "Sequential Monte Carlo p-values", Biometrika 78(2); the + 1: Davison & Hinkley
    (1997), section 4.2.
    """

    def __init__(self, observed: float, *, stop_after: int = 20, at_most: int = 999) -> None:
        if stop_after < 1 or at_most < 1 or not math.isfinite(observed):
            raise EvidenceError(
                f"a permutation test of {observed} that stops after {stop_after} of at most {at_most} shuffles; "
                "allowed is a finite statistic and at least 1 of each"
            )
        self._observed = observed
        self._stop_after = stop_after
        self._at_most = at_most
        self._shuffles = 0
        self._as_good = 0

    @property
    def is_done(self) -> bool:
        """Whether further shuffles would change nothing that counts."""
        return self._as_good >= self._stop_after or self._shuffles >= self._at_most

    def add(self, shuffled: float | None) -> bool:
        """Count one shuffle and return whether the test is done; None, a shuffle without trades, is not as good.

        Shuffles have to be added in the order of their numbers; those after the end are ignored, so that batches
        may be evaluated in parallel.
        """
        if not self.is_done:
            self._shuffles += 1
            self._as_good += shuffled is not None and shuffled >= self._observed
        return self.is_done

    def result(self) -> PermutationResult:
        """Return what the shuffles so far say."""
        stopped = self._as_good >= self._stop_after
        return PermutationResult(
            p_value=self._as_good / self._shuffles if stopped else (self._as_good + 1) / (self._shuffles + 1),
            at_least_as_good=self._as_good,
            shuffle_count=self._shuffles,
            stopped_early=stopped and self._shuffles < self._at_most,
        )


def best_of_trials_test(observed: FloatArray, shuffled: FloatArray, winner: int) -> PermutationResult:
    """Return how often the best of all trials on shuffled calls stands out as much as the winner on the real ones.

    Each trial's score is measured in its own mean and deviation over all shuffles and the real calls, so that trials
    with a wide scatter do not rule the maximum.

    Args:
        observed: Score of each trial on the real calls, higher is better, shape (n_trials,); NaN for none.
        shuffled: Scores on shuffled calls, shape (n_shuffles, n_trials); NaN for none.
        winner: Position of the winner; it has a score.

    Raises:
        EvidenceError: shapes do not fit or the winner has no score.

    Source: Westfall & Young (1993), "Resampling-Based Multiple Testing", section 2.
    """
    if shuffled.ndim != 2 or shuffled.shape[1] != len(observed) or not len(shuffled):
        raise EvidenceError(
            f"scores of {len(observed)} trials and shuffled ones of shape {shuffled.shape}; allowed is "
            "(shuffles, trials)"
        )
    if not 0 <= winner < len(observed) or not math.isfinite(observed[winner]):
        raise EvidenceError(f"the winner {winner} has no score among {len(observed)} trials")
    scores = np.vstack([observed, shuffled])
    has_score = np.isfinite(scores)
    known = np.where(has_score, scores, 0.0)
    count = np.maximum(has_score.sum(axis=0), 1)
    mean = known.sum(axis=0) / count
    spread = np.sqrt(np.where(has_score, (scores - mean) ** 2, 0.0).sum(axis=0) / count)
    standing = np.where(has_score & (spread > 0), (scores - mean) / np.where(spread > 0, spread, 1.0), -np.inf)
    best = standing[1:].max(axis=1)
    as_good = int(np.count_nonzero(best >= standing[0, winner]))
    return PermutationResult(
        p_value=(as_good + 1) / (len(shuffled) + 1),
        at_least_as_good=as_good,
        shuffle_count=len(shuffled),
        stopped_early=False,
    )


def _month_bounds(seconds: int) -> tuple[int, int]:
    """Return the first second of the UTC month of a time, and of the next month."""
    day = datetime.fromtimestamp(seconds, tz=UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
    return int(day.timestamp()), int(following.timestamp())
