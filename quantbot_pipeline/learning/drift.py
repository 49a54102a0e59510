"""Drift: whether the calls of now look like those that a model learned from, per feature and for its score.

The population stability index (PSI) of two samples in the same bins is the sum over bins of (q - p) ln(q / p), with p
the share of the earlier calls and q that of the later ones: Jeffreys' symmetrised divergence. Bins are the tenths of
the earlier calls; calls of which the feature is unknown are a bin of their own. To each bin half a call is added on
either side (Krichevsky and Trofimov's estimate), so that an empty bin is a large number and no infinite one; bins that
are empty on both sides are left out.

PSI is never 0 by chance. Where both samples of n and m independent calls are from one population, it is distributed
about as (1/n + 1/m) times chi-squared with one degree of freedom less than there are bins. A shift is told only where
PSI is both large by convention and larger than that explains, with about one false alarm in twenty for all features of
a model together (measured: `tests/unit/learning/test_drift.py`).

Sources: Lewis (1994), "An Introduction to Credit Scoring", and Siddiqi (2006), "Credit Risk Scorecards" (0.1 and 0.25:
conventions, not a test); Yurdakul and Naranjo (2020), "Statistical properties of the population stability index",
Journal of Risk Model Validation 14 (the distribution); Krichevsky and Trofimov (1981), "The performance of universal
encoding", IEEE Transactions on Information Theory 27 (the half).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import chi2

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError

SHIFTED_PSI = 0.1
"""From here on a shift is worth a look."""

DRIFTED_PSI = 0.25
"""From here on it is large."""

FALSE_ALARMS = 0.05
"""How often chance alone is told as a shift of any feature of a model, about; for independent calls."""

MIN_DRIFT_CALLS = 50
"""With fewer calls on either side nothing is said: they are five per bin."""

_BIN_COUNT = 10
_HALF = 0.5

Verdict = Literal["stable", "shifted", "drifted", "moves by itself", "too few calls"]

_WEEK, _DAY = 7 * 86_400, 86_400

_GROWING = "it counts what has happened so far, so it grows with time"
_COMMON = "at one time it is the same for all calls, so its calls are not many observations but one that wanders"

MOVES_BY_ITSELF: Mapping[str, str] = {
    "caller_finished_trades": _GROWING,
    "caller_calls_before": _GROWING,
    "caller_days_since_first_call": _GROWING,
    "caller_calls_on_token": _GROWING,
    "other_callers_on_token": _GROWING,
    "hours_since_first_call_on_token": _GROWING,
    "everyone_win_rate": _COMMON,
    "everyone_mean_pnl": _COMMON,
    "all_calls_1h": _COMMON,
}
"""Features whose shift is shown and warned of nowhere, with the reason: it is certain, and no news."""

# Of a time that is shorter than the circle, a part of the circle is missing.
_CLOCK = {"hour_sin": _DAY, "hour_cos": _DAY, "weekday_sin": _WEEK, "weekday_cos": _WEEK}


@dataclass(frozen=True, slots=True)
class Profile:
    """How the values of one column are distributed among the calls that a model learned from.

    Attributes:
        edges: Inner edges of the bins, ascending; a bin takes what is above its left edge, up to its right one.
        counts: Calls per bin, one more than edges.
        missing: Calls of which it is unknown.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int

    @property
    def calls(self) -> int:
        """Return the number of calls, unknown ones included."""
        return sum(self.counts) + self.missing

    def document(self) -> dict[str, Any]:
        """Return the profile as JSON."""
        return {"edges": list(self.edges), "counts": list(self.counts), "missing": self.missing}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Profile":
        """Return the profile that `document` made.

        Raises:
            LearningError: it is none.
        """
        try:
            edges, counts = tuple(map(float, document["edges"])), tuple(map(int, document["counts"]))
            missing = int(document["missing"])
        except (KeyError, TypeError, ValueError) as e:
            raise LearningError(f"a profile of training values is broken ({e!r}); train the model again") from e
        if len(counts) != len(edges) + 1 or min(*counts, missing, 0) < 0 or list(edges) != sorted(edges):
            raise LearningError(
                f"a profile of training values has {len(edges)} edges and {len(counts)} bins; allowed are ascending "
                "edges and one bin more, with counts of 0 or more: train the model again"
            )
        return cls(edges, counts, missing)

    def count(self, values: FloatArray) -> IntArray:
        """Return how many values lie in each bin, and, last, how many are unknown."""
        known = values[~np.isnan(values)]
        places = np.searchsorted(np.asarray(self.edges, dtype=np.float64), known, side="left")
        binned = np.bincount(places, minlength=len(self.counts))
        return np.append(binned, len(values) - len(known)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How one feature, or the score, shifted.

    Attributes:
        name: The feature; `SCORE` for the score.
        psi: Population stability index, 0 or more.
        chance: What chance alone stays below in 19 of 20 models, for so many calls and features.
        verdict: `shifted` from 0.1 and `drifted` from 0.25 on, where chance does not explain it.
        before: Share of the calls that it learned from per bin, unknown ones last.
        now: Share of the calls of now.
        edges: Inner edges of the bins.
        reason: Why a shift is no news; empty where it would be.
    """

    name: str
    psi: float
    chance: float
    verdict: Verdict
    before: tuple[float, ...]
    now: tuple[float, ...]
    edges: tuple[float, ...]
    reason: str = ""

    @property
    def is_told(self) -> bool:
        """Return whether a person is to be warned of it."""
        return self.verdict in ("shifted", "drifted")


SCORE = "score"
"""Name of the score beside the features."""


def profile_of(values: FloatArray) -> Profile:
    """Return how values are distributed: bins that are tenths of the known ones, as far as equal values allow."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Profile((), (0,), len(values))
    edges = np.unique(np.quantile(known, np.arange(1, _BIN_COUNT) / _BIN_COUNT, method="inverted_cdf"))
    # Where the smallest value is a bin of its own, what is below it is another: a constant can fall, too.
    if edges[0] == known.min():
        edges = np.concatenate([[np.nextafter(edges[0], -np.inf)], edges])
    empty = Profile(tuple(edges.tolist()), (0,) * (len(edges) + 1), 0)
    *counts, missing = empty.count(values).tolist()
    return Profile(empty.edges, tuple(counts), missing)


def measure_drift(
    reference: Mapping[str, Profile], now: Mapping[str, FloatArray], *, span_seconds: int
) -> tuple[ColumnDrift, ...]:
    """Return how each column shifted, the largest index first.

    Args:
        reference: What each column was like when the model learned.
        now: Values of the same columns for the calls of now, NaN where unknown.
        span_seconds: Time from the first to the last of these calls.

    Raises:
        LearningError: a column has no reference.
    """
    if missing := sorted(set(now) - set(reference)):
        raise LearningError(f"no profile of training values is known of {', '.join(missing)}; train the model again")
    found = [
        _column(name, reference[name], values, tests=max(len(now), 1), span_seconds=span_seconds)
        for name, values in now.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.psi, each.name)))


def worst_of(columns: tuple[ColumnDrift, ...]) -> Verdict:
    """Return the verdict on all columns: the worst that is told of any."""
    verdicts = {column.verdict for column in columns}
    order: tuple[Verdict, ...] = ("drifted", "shifted", "too few calls")
    return next((verdict for verdict in order if verdict in verdicts), "stable")


def stability_index(before: IntArray, now: IntArray) -> tuple[float, int]:
    """Return the population stability index of two samples, counted in the same bins, and how many bins matter."""
    is_used = (before > 0) | (now > 0)
    bins = int(is_used.sum())
    if bins < 2:
        return 0.0, bins
    p, q = ((counts[is_used] + _HALF) / (counts.sum() + _HALF * bins) for counts in (before, now))
    return float(np.sum((q - p) * np.log(q / p))), bins


def _column(name: str, reference: Profile, values: FloatArray, *, tests: int, span_seconds: int) -> ColumnDrift:
    before = np.array([*reference.counts, reference.missing], dtype=np.int64)
    counted = reference.count(values)
    index, bins = stability_index(before, counted)
    n, m = int(before.sum()), int(counted.sum())
    chance = 0.0
    if min(n, m) and bins > 1:
        chance = float((1 / n + 1 / m) * chi2.ppf(1 - FALSE_ALARMS / tests, bins - 1))
    reason = MOVES_BY_ITSELF.get(name, "")
    if span_seconds < _CLOCK.get(name, 0):
        reason = "these calls do not span the whole circle of time"
    return ColumnDrift(
        name,
        index,
        chance,
        _verdict(index, chance, min(n, m), is_expected=bool(reason)),
        _shares(before),
        _shares(counted),
        reference.edges,
        reason,
    )


def _verdict(index: float, chance: float, calls: int, *, is_expected: bool) -> Verdict:
    if calls < MIN_DRIFT_CALLS:
        return "too few calls"
    if index < SHIFTED_PSI or index <= chance:
        return "stable"
    if is_expected:
        return "moves by itself"
    return "drifted" if index >= DRIFTED_PSI else "shifted"


def _shares(counts: IntArray) -> tuple[float, ...]:
    return tuple((counts / max(int(counts.sum()), 1)).tolist())
