"""What is wrong with stored candles, in numbers and in a word: the judgement alone, on numbers measured elsewhere.

One judgement is about one series (a token's candles of one interval) in one month. What is expected of a month is
what lies between the series' first and last candle, so that a token is not blamed for its birth and its end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quantbot_pipeline.errors import InputError


class Verdict(StrEnum):
    """A month of candles in a word; of several that fit, the last one here is given."""

    GOOD = "good"
    GAPS = "gaps"
    STALE = "stale"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True)
class CandleMeasures:
    """What was counted in one month of one series.

    Attributes:
        interval_seconds: Length of a candle.
        expected_count: Candles that fit between the month's and the series' ends; at least 1.
        candle_count: Candles found.
        gap_count: Places where at least one candle is missing, cut at the month's ends.
        longest_gap_candles: Candles missing in the longest of them.
        zero_volume_count: Candles with a volume of 0.
        volume_missing_count: Candles whose volume was missing in the import and became 0.
        distorted_count: Candles whose wick the import flagged.
        long_wick_count: Candles with a wick beyond the limit that was asked for; 0 when none was.
        resampled_count: Candles made from a finer interval.
        off_grid_count: Candles that open beside the interval's grid.
        flat_run_candles: Most candles in a row with equal closes; 1 when every close differs.
        flat_run_seconds: Longest time that the close stayed the same, gaps included.
        silent_seconds: From the last candle's end to the month's end, or to the time that was asked for if earlier.
        first_candle_s: Open time of the first candle, seconds since the epoch; None without candles.
        last_candle_s: Open time of the last one.
    """

    interval_seconds: int
    expected_count: int
    candle_count: int
    gap_count: int = 0
    longest_gap_candles: int = 0
    zero_volume_count: int = 0
    volume_missing_count: int = 0
    distorted_count: int = 0
    long_wick_count: int = 0
    resampled_count: int = 0
    off_grid_count: int = 0
    flat_run_candles: int = 1
    flat_run_seconds: int = 0
    silent_seconds: int = 0
    first_candle_s: int | None = None
    last_candle_s: int | None = None


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """From where on a month is not good any more.

    Attributes:
        gaps_below_coverage: Below this coverage a month has gaps.
        long_gap_seconds: A gap at least this long is one whatever the coverage.
        sparse_below_coverage: Below this coverage it is sparse.
        stale_seconds: A close that stays the same, or silence after the last candle, at least this long is stale.
            A day: a call that waits longer for its first candle is skipped by default.
        stale_candles: And the close stays the same over at least this many candles.
        stale_zero_volume_share: From this share of candles without volume on a month is stale.

    Raises:
        InputError: a threshold is out of bounds; the message names it.
    """

    gaps_below_coverage: float = 0.99
    long_gap_seconds: int = 6 * 3600
    sparse_below_coverage: float = 0.5
    stale_seconds: int = 86400
    stale_candles: int = 12
    stale_zero_volume_share: float = 0.9

    def __post_init__(self) -> None:
        for name in ("gaps_below_coverage", "sparse_below_coverage", "stale_zero_volume_share"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"quality threshold {name}: found {value}; allowed is 0 to 1, such as 0.95")
        for name in ("long_gap_seconds", "stale_seconds", "stale_candles"):
            if getattr(self, name) < 1:
                raise InputError(f"quality threshold {name}: found {getattr(self, name)}; allowed is 1 or more")
        if self.sparse_below_coverage > self.gaps_below_coverage:
            raise InputError(
                f"quality threshold sparse_below_coverage: found {self.sparse_below_coverage}, above "
                f"gaps_below_coverage {self.gaps_below_coverage}; allowed is at most that"
            )


DEFAULT_THRESHOLDS = QualityThresholds()


@dataclass(frozen=True, slots=True)
class CandleQuality:
    """A judged month of one series.

    Attributes:
        measures: What was counted.
        coverage: Share of the expected candles that are there, in [0, 1].
        zero_volume_share: Share of the found candles without volume; 0 without candles.
        longest_gap_seconds: Length of the longest gap.
        source: `imported`, `resampled`, `mixed`, or `none` without candles.
        verdict: The word.
        reasons: Why, a sentence each, the weightiest first; empty when good.
    """

    measures: CandleMeasures
    coverage: float
    zero_volume_share: float
    longest_gap_seconds: int
    source: str
    verdict: Verdict
    reasons: tuple[str, ...]


def quality_of(measures: CandleMeasures, thresholds: QualityThresholds = DEFAULT_THRESHOLDS) -> CandleQuality:
    """Judge a month of candles.

    Args:
        measures: What was counted.
        thresholds: From where on it is not good.
    """
    found = measures.candle_count
    # Candles beside the grid can be more than fit on it.
    coverage = min(found / max(measures.expected_count, 1), 1.0)
    zero_volume_share = measures.zero_volume_count / found if found else 0.0
    longest_gap_seconds = measures.longest_gap_candles * measures.interval_seconds
    judged = [
        *_sparseness(measures, coverage, thresholds),
        *_staleness(measures, zero_volume_share, thresholds),
        *_gaps(measures, coverage, longest_gap_seconds, thresholds),
    ]
    return CandleQuality(
        measures=measures,
        coverage=coverage,
        zero_volume_share=zero_volume_share,
        longest_gap_seconds=longest_gap_seconds,
        source=_source(measures),
        verdict=judged[0][0] if judged else Verdict.GOOD,
        reasons=tuple(reason for _, reason in judged),
    )


def worst_first(quality: CandleQuality) -> tuple[int, float, int]:
    """Return a key that sorts judged months from the worst to the best."""
    return (-list(Verdict).index(quality.verdict), quality.coverage, -quality.longest_gap_seconds)


_Judgement = tuple[Verdict, str]


def _sparseness(measures: CandleMeasures, coverage: float, thresholds: QualityThresholds) -> Sequence[_Judgement]:
    if coverage >= thresholds.sparse_below_coverage and measures.candle_count:
        return []
    return [(Verdict.SPARSE, f"{measures.candle_count} of {measures.expected_count} candles are there")]


def _staleness(
    measures: CandleMeasures, zero_volume_share: float, thresholds: QualityThresholds
) -> Sequence[_Judgement]:
    found = []
    if measures.flat_run_seconds >= thresholds.stale_seconds and measures.flat_run_candles >= thresholds.stale_candles:
        reason = f"the close stays the same for {_hours(measures.flat_run_seconds)}"
        found.append((Verdict.STALE, reason))
    if measures.candle_count and zero_volume_share >= thresholds.stale_zero_volume_share:
        reason = f"{measures.zero_volume_count} of {measures.candle_count} candles have no volume"
        found.append((Verdict.STALE, reason))
    if measures.silent_seconds >= thresholds.stale_seconds:
        found.append((Verdict.STALE, f"no candle in the last {_hours(measures.silent_seconds)}"))
    return found


def _gaps(
    measures: CandleMeasures, coverage: float, longest_gap_seconds: int, thresholds: QualityThresholds
) -> Sequence[_Judgement]:
    if coverage >= thresholds.gaps_below_coverage and longest_gap_seconds < thresholds.long_gap_seconds:
        return []
    missing = max(measures.expected_count - measures.candle_count, 0)
    reason = f"{missing} candles are missing in {measures.gap_count} gaps, the longest of {_hours(longest_gap_seconds)}"
    return [(Verdict.GAPS, reason)]


def _source(measures: CandleMeasures) -> str:
    if not measures.candle_count:
        return "none"
    if not measures.resampled_count:
        return "imported"
    return "resampled" if measures.resampled_count == measures.candle_count else "mixed"


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:,.1f} h"
