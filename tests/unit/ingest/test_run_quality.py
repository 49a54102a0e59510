"""Candles that runs read, judged by hand."""

import numpy as np
import pytest

from quantbot_pipeline.ingest.candle_quality import Verdict
from quantbot_pipeline.ingest.run_quality import HeldSpans, ReadCandles, measure_read_candles, quality_of_run

NEVER = HeldSpans(*(np.empty(0, dtype=np.int64) for _ in range(3)), 0)


def spans(*held: tuple[int, int, int], trades: int) -> HeldSpans:
    """Spans as (trade, first candle, last candle)."""
    trade, first, last = (np.array(column, dtype=np.int64) for column in zip(*held, strict=True))
    return HeldSpans(trade, first, last, trades)


def read(minutes: list[int], held: HeldSpans = NEVER, *, flat: bool = False, **columns: list[float]) -> ReadCandles:
    """Candles of a minute that open at the given minutes, every close another one unless flat."""
    n = len(minutes)
    close = np.ones(n) if flat else 1 + np.arange(n, dtype=np.float64)
    flags = np.array(columns["flags"], dtype=np.uint8) if "flags" in columns else None
    volume = np.array(columns.get("volume", [5.0] * n))
    return measure_read_candles(60, 60 * np.array(minutes, dtype=np.int64), close, volume, flags, held)


def test_candles_without_a_gap_are_good_and_all_there() -> None:
    quality = quality_of_run([read([0, 1, 2, 3], spans((0, 1, 3), trades=1))])
    assert quality.verdict is Verdict.GOOD
    assert (quality.details["coverage"], quality.details["gap_count"]) == (1.0, 0)
    assert (quality.details["trade_count"], quality.details["trades_over_gaps"]) == (1, 0)
    assert quality.details["reasons"] == []


def test_coverage_counts_from_the_first_to_the_last_candle_that_was_read() -> None:
    # Minutes 10 to 19 are ten candles; 12, 13 and 17 are missing: two gaps, the longer of two minutes.
    part = read([10, 11, 14, 15, 16, 18, 19])
    assert (part.measures.expected_count, part.measures.candle_count) == (10, 7)
    assert (part.measures.gap_count, part.measures.longest_gap_candles) == (2, 2)
    quality = quality_of_run([part])
    assert quality.verdict is Verdict.GAPS
    assert quality.details["coverage"] == 0.7
    assert quality.details["longest_gap_seconds"] == 120


@pytest.mark.parametrize(
    ("first", "last", "over", "minutes"),
    [
        # Candles open at 0 1 2 | 5 6 | 8: two are missing before candle 3, one before candle 5.
        (0, 2, 0, 0),  # sold in the last candle before the gap
        (3, 4, 0, 0),  # bought in the first one after it
        (2, 3, 1, 2),  # held over the first gap alone
        (4, 5, 1, 1),  # held over the second one
        (0, 5, 1, 2),  # over both: the longer one counts
        (3, 3, 0, 0),  # bought and sold in one candle
    ],
)
def test_a_gap_counts_for_a_trade_that_held_a_position_over_it(first: int, last: int, over: int, minutes: int) -> None:
    part = read([0, 1, 2, 5, 6, 8], spans((0, first, last), trades=1))
    assert (part.trades_over_gaps, part.longest_held_gap_seconds) == (over, 60 * minutes)


def test_a_trade_over_many_gaps_is_one_trade_and_one_between_cycles_is_none() -> None:
    # Trade 0 holds over both gaps in two spans; trade 1 was flat over the first gap: out at candle 2, in at candle 3.
    held = spans((0, 2, 3), (0, 3, 5), (1, 0, 2), (1, 3, 4), trades=3)
    part = read([0, 1, 2, 5, 6, 8], held)
    assert (part.trade_count, part.trades_over_gaps, part.longest_held_gap_seconds) == (3, 1, 120)


def test_one_missing_candle_in_a_trade_makes_a_run_gaps_however_good_its_coverage() -> None:
    minutes = [k for k in range(1000) if k != 500]
    assert quality_of_run([read(minutes, spans((0, 0, 400), trades=1))]).verdict is Verdict.GOOD
    quality = quality_of_run([read(minutes, spans((0, 0, 600), trades=2))])
    assert quality.verdict is Verdict.GAPS
    assert quality.details["reasons"] == ["1 of 2 trades held a position over a gap, the longest of 1 min"]


def test_flags_are_counted_bit_by_bit() -> None:
    # 1: volume missing, 2: distorted wick, 4: resampled; 3 and 7 are several at once.
    part = read([0, 1, 2, 3, 4], flags=[0, 1, 3, 7, 4], volume=[1, 0, 0, 0, 1])
    measures = part.measures
    assert (measures.volume_missing_count, measures.distorted_count, measures.resampled_count) == (3, 2, 2)
    assert measures.zero_volume_count == 3


def test_flags_change_counts_and_no_verdict() -> None:
    # By this an import that changes flags alone leaves a completed run's verdict true.
    for minutes in ([0, 1, 2, 3], [0, 1, 4, 5, 6, 8, 9], [0, 10]):
        plain, flagged = (quality_of_run([read(minutes, flags=[flag] * len(minutes))]) for flag in (0, 7))
        assert (plain.verdict, plain.details["reasons"]) == (flagged.verdict, flagged.details["reasons"])
        assert plain.details["distorted_count"] == 0 < flagged.details["distorted_count"]


def test_flags_that_nobody_knows_are_none() -> None:
    assert read([0, 1]).measures.volume_missing_count == 0


def test_a_close_that_stays_the_same_for_a_day_is_stale() -> None:
    # 1441 candles of a minute with one close, after one with another: flat for 1441 minutes.
    minutes = list(range(1442))
    part = read(minutes, flat=True)
    assert part.measures.flat_run_candles == 1442
    assert part.measures.flat_run_seconds == 1442 * 60
    assert quality_of_run([part]).verdict is Verdict.STALE
    assert read([0, 1, 2, 7], flat=True).measures.flat_run_seconds == 8 * 60


def test_a_run_that_found_no_candle_is_sparse() -> None:
    quality = quality_of_run([read([])])
    assert (quality.verdict, quality.details["coverage"]) == (Verdict.SPARSE, 0.0)


def test_a_run_over_many_tokens_has_the_worst_verdict_and_says_how_many_have_which() -> None:
    # 2 of 2, 7 of 10 and 2 of 11 candles: good, gaps, sparse.
    parts = [read([0, 1]), read([0, 1, 4, 5, 6, 8, 9]), read([0, 10])]
    quality = quality_of_run(parts)
    assert quality.verdict is Verdict.SPARSE
    assert quality.details["tokens_by_verdict"] == {"gaps": 1, "good": 1, "sparse": 1}
    assert (quality.details["candle_count"], quality.details["expected_count"]) == (11, 23)
    assert quality.details["reasons"][0] == "2 of 11 candles are there"
