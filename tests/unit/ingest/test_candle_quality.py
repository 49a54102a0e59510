"""Judging a month of candles: the word, the reasons, and from where on."""

from dataclasses import replace

import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.candle_quality import (
    CandleMeasures,
    QualityThresholds,
    Verdict,
    quality_of,
    worst_first,
)

# March 2025 of 5m candles: 31 x 288.
WHOLE = CandleMeasures(interval_seconds=300, expected_count=8928, candle_count=8928)


def test_a_whole_month_that_moves_is_good() -> None:
    quality = quality_of(WHOLE)

    assert (quality.verdict, quality.reasons) == (Verdict.GOOD, ())
    assert (quality.coverage, quality.longest_gap_seconds, quality.source) == (1.0, 0, "imported")


@pytest.mark.parametrize(
    ("candle_count", "verdict"),
    [
        (8839, Verdict.GOOD),  # 99.003 %
        (8838, Verdict.GAPS),  # 98.99 %
        (4464, Verdict.GAPS),  # 50 %
        (4463, Verdict.SPARSE),
        (0, Verdict.SPARSE),
    ],
)
def test_coverage_decides_between_good_gaps_and_sparse(candle_count: int, verdict: Verdict) -> None:
    missing = 8928 - candle_count
    # Many short gaps: none is long by itself.
    assert quality_of(replace(WHOLE, candle_count=candle_count, gap_count=missing)).verdict is verdict


def test_one_long_gap_is_a_gap_whatever_the_coverage() -> None:
    # 72 candles of 5 minutes are 6 hours: 0.8 % of the month.
    missing = replace(WHOLE, candle_count=8856, gap_count=1, longest_gap_candles=72)

    assert quality_of(missing).verdict is Verdict.GAPS
    assert quality_of(missing).reasons == ("72 candles are missing in 1 gaps, the longest of 6.0 h",)
    assert quality_of(replace(missing, candle_count=8857, longest_gap_candles=71)).verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flat_run_seconds": 86400, "flat_run_candles": 288}, "the close stays the same for 24.0 h"),
        ({"silent_seconds": 86400}, "no candle in the last 24.0 h"),
        ({"zero_volume_count": 8036}, "8036 of 8928 candles have no volume"),  # 90.01 %
    ],
)
def test_a_price_that_stands_still_silence_and_no_volume_are_stale(changes: dict[str, int], reason: str) -> None:
    quality = quality_of(replace(WHOLE, **changes))
    assert (quality.verdict, quality.reasons) == (Verdict.STALE, (reason,))

    just_below = replace(WHOLE, **{name: value - 1 for name, value in changes.items()})
    assert quality_of(just_below).verdict is Verdict.GOOD


def test_two_equal_closes_of_daily_candles_are_not_stale() -> None:
    days = CandleMeasures(86400, 31, 31, flat_run_candles=2, flat_run_seconds=172800)
    assert quality_of(days).verdict is Verdict.GOOD


def test_of_several_faults_the_word_is_the_worst_and_all_are_told() -> None:
    quality = quality_of(
        replace(WHOLE, candle_count=100, gap_count=50, longest_gap_candles=4000, silent_seconds=200_000)
    )

    assert quality.verdict is Verdict.SPARSE
    assert [reason.split()[0] for reason in quality.reasons] == ["100", "no", "8828"]


def test_thresholds_move_the_bounds() -> None:
    missing = replace(WHOLE, candle_count=8000, gap_count=928)

    assert quality_of(missing, QualityThresholds(gaps_below_coverage=0.85)).verdict is Verdict.GOOD
    assert quality_of(missing, QualityThresholds(sparse_below_coverage=0.95)).verdict is Verdict.SPARSE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gaps_below_coverage": 1.5}, "gaps_below_coverage: found 1.5; allowed is 0 to 1"),
        ({"stale_zero_volume_share": float("nan")}, "stale_zero_volume_share: found nan"),
        ({"long_gap_seconds": 0}, "long_gap_seconds: found 0; allowed is 1 or more"),
        ({"sparse_below_coverage": 0.995}, "above gaps_below_coverage 0.99"),
    ],
)
def test_thresholds_out_of_bounds_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        QualityThresholds(**values)  # type: ignore[arg-type]  # wrong values are the point


@pytest.mark.parametrize(
    ("resampled", "found", "source"), [(0, 9, "imported"), (9, 9, "resampled"), (4, 9, "mixed"), (0, 0, "none")]
)
def test_the_source_says_whether_candles_were_resampled(resampled: int, found: int, source: str) -> None:
    assert quality_of(replace(WHOLE, candle_count=found, resampled_count=resampled)).source == source


def test_candles_beside_the_grid_do_not_cover_more_than_all() -> None:
    assert quality_of(replace(WHOLE, candle_count=20_000, off_grid_count=11_072)).coverage == 1.0


def test_worst_first_goes_by_verdict_then_coverage_then_the_longest_gap() -> None:
    good = quality_of(WHOLE)
    gaps = quality_of(replace(WHOLE, candle_count=8000, longest_gap_candles=9))
    longer = quality_of(replace(WHOLE, candle_count=8000, longest_gap_candles=90))
    stale = quality_of(replace(WHOLE, silent_seconds=10**6))
    sparse = quality_of(replace(WHOLE, candle_count=10))
    sparser = quality_of(replace(WHOLE, candle_count=9))

    shuffled = [gaps, sparse, good, longer, sparser, stale]
    assert sorted(shuffled, key=worst_first) == [sparser, sparse, stale, longer, gaps, good]
