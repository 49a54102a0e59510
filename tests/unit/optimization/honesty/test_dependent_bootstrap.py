"""Periods, blocks of them, and the interval of a mean."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import (
    Periods,
    mean_result,
    periods_of_calls,
    stationary_bootstrap_counts,
    sum_by_period,
)

DAY = 86_400


def each_its_own(count: int, block_rows: float = 1.0) -> Periods:
    return Periods(row=np.arange(count), count=count, seconds=DAY, block_rows=block_rows)


def test_days_without_calls_are_no_periods() -> None:
    periods = periods_of_calls(np.array([5 * DAY, 0, 10, 9 * DAY + 1]), period_seconds=DAY)
    assert periods.row.tolist() == [1, 0, 0, 2]
    assert periods.count == 3


def test_shorter_periods_are_taken_when_there_are_few_days() -> None:
    assert periods_of_calls(np.arange(60) * DAY).seconds == DAY
    assert periods_of_calls(np.arange(100) * 7_200).seconds == 3_600
    assert periods_of_calls(np.arange(52) * 21_600).seconds == 21_600


def test_blocks_are_as_long_as_trades_last() -> None:
    start = np.arange(100) * DAY
    assert periods_of_calls(start, start + 60).block_rows == pytest.approx(100 ** (1 / 3))
    assert periods_of_calls(start, start + 6 * DAY).block_rows == pytest.approx(7)
    assert periods_of_calls(start, start + 60 * DAY).block_rows == pytest.approx(10)  # a tenth at most


def test_sums_by_period_by_hand() -> None:
    periods = Periods(row=np.array([1, 0, 1]), count=2, seconds=DAY, block_rows=1)
    assert sum_by_period(np.array([1.0, 2.0, 4.0]), periods).tolist() == [2.0, 5.0]
    assert sum_by_period(np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 1.0]]), periods).tolist() == [[2, 1], [5, 1]]


def test_resamples_have_as_many_rows_as_there_are() -> None:
    counts = stationary_bootstrap_counts(30, draws=200, block_rows=4, rng=np.random.default_rng(0))
    assert counts.sum(axis=1).tolist() == [30.0] * 200
    # Every row is as likely as any other: 200 draws, deviation of a mean count below 0.15.
    assert np.abs(counts.mean(axis=0) - 1).max() < 0.5


def test_blocks_draw_neighbours_together() -> None:
    def product_of_neighbours(block_rows: float) -> float:
        counts = stationary_bootstrap_counts(50, draws=4000, block_rows=block_rows, rng=np.random.default_rng(1))
        return float(np.mean(counts[:, :-1] * counts[:, 1:]))

    # Pairs of 50 drawn rows: alone each 1/2500, (2500 - 50) / 2500. In blocks of 5, a row's next is in its block with
    # 4/5 · 49/50 = 0.784, and the 2500 - 50 - 2 · Σ (50 - k) · 0.8^k = 2090 pairs of different blocks give 0.836.
    assert product_of_neighbours(1) == pytest.approx(0.98, abs=0.03)
    assert product_of_neighbours(5) == pytest.approx(1.62, abs=0.03)


@pytest.mark.parametrize("block_rows", [0.5, float("nan")])
def test_blocks_below_one_row_are_refused(block_rows: float) -> None:
    with pytest.raises(EvidenceError, match="allowed is at least 1"):
        stationary_bootstrap_counts(5, draws=5, block_rows=block_rows, rng=np.random.default_rng(0))


def test_the_same_seed_gives_the_same_interval() -> None:
    pnl = np.random.default_rng(0).standard_normal(100)
    assert mean_result(pnl, each_its_own(100), seed=1) == mean_result(pnl, each_its_own(100), seed=1)
    assert mean_result(pnl, each_its_own(100), seed=1) != mean_result(pnl, each_its_own(100), seed=2)


def test_independent_trades_have_the_textbook_error() -> None:
    pnl = np.random.default_rng(0).standard_normal(400) + 0.3
    found = mean_result(pnl, each_its_own(400), seed=1)
    assert found is not None
    error = pnl.std(ddof=1) / 20
    assert found.standard_error == pytest.approx(error, rel=0.06)
    assert found.low == pytest.approx(pnl.mean() - 1.65 * error, abs=0.25 * error)
    assert found.high == pytest.approx(pnl.mean() + 1.65 * error, abs=0.25 * error)
    assert found.p_value == pytest.approx(0.001)
    # (1.645 + 0.842) / sqrt(400)
    assert found.detectable_edge() == pytest.approx(0.124, rel=0.06)


def test_ten_copies_of_each_trade_are_no_more_than_one() -> None:
    pnl = np.random.default_rng(0).standard_normal(60)
    periods = Periods(row=np.repeat(np.arange(60), 10), count=60, seconds=DAY, block_rows=1)
    found = mean_result(np.repeat(pnl, 10), periods, seed=1)
    assert found is not None
    assert found.trade_count == 600
    assert found.independent_count == pytest.approx(60, rel=0.15)


def test_trends_over_periods_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    pnl = np.repeat(rng.standard_normal(40), 5)  # five days alike
    alone = mean_result(pnl, each_its_own(200), seed=1)
    in_blocks = mean_result(pnl, each_its_own(200, block_rows=10), seed=1)
    assert alone is not None
    assert in_blocks is not None
    assert in_blocks.high - in_blocks.low > 1.5 * (alone.high - alone.low)


@pytest.mark.parametrize("pnl", [[0.1] * 30, [0.0] * 30, [0.5]])
def test_results_that_do_not_vary_have_no_interval(pnl: list[float]) -> None:
    assert mean_result(np.array(pnl), each_its_own(len(pnl)), seed=1) is None


def test_busy_days_are_not_taken_for_good_days() -> None:
    """A day of nine trades earns nine times as much as a day of one; the mean of a trade is none the less certain."""
    row = np.repeat(np.arange(60), 1 + np.arange(60) % 9)
    pnl = 10 + np.random.default_rng(0).standard_normal(len(row))
    found = mean_result(pnl, Periods(row=row, count=60, seconds=DAY, block_rows=1), seed=1)
    assert found is not None
    assert found.standard_error == pytest.approx(1 / len(row) ** 0.5, rel=0.2)
    assert found.high - found.low == pytest.approx(2 * 1.67 / len(row) ** 0.5, rel=0.2)
