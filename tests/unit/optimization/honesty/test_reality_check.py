"""The winner against all trials."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import Periods
from quantbot_pipeline.optimization.honesty.reality_check import RealityCheck, winner_test

PERIODS = Periods(row=np.arange(100), count=100, seconds=86_400, block_rows=1)


def noise(trial_count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((100, trial_count))


def test_the_statistic_is_that_of_students_test() -> None:
    returns = noise(3)
    statistic = RealityCheck(PERIODS, seed=1).add(returns)
    assert statistic.tolist() == pytest.approx((returns.mean(axis=0) / returns.std(axis=0, ddof=1) * 10).tolist())


def test_one_trial_alone_has_students_p_value() -> None:
    returns = noise(1, seed=3)
    returns += 0.1665 - returns.mean()
    returns /= returns.std(ddof=1)
    returns += 0.1665 - returns.mean()  # t = 1.665, which Student's test with 99 degrees gives p = 0.0496
    found = winner_test(returns, 0, PERIODS, seed=1, draws=4000)
    assert found is not None
    assert found.p_value == pytest.approx(0.0496, abs=0.015)


def test_the_best_of_many_strangers_needs_more_than_one_alone() -> None:
    returns = noise(200)
    winner = int(returns.mean(axis=0).argmax())
    alone = winner_test(returns[:, [winner]], 0, PERIODS, seed=1)
    among = winner_test(returns, winner, PERIODS, seed=1)
    assert alone is not None
    assert among is not None
    assert alone.p_value < 0.01
    assert among.p_value > 0.1


def test_copies_of_a_trial_are_no_further_chance() -> None:
    returns = noise(1) + 0.15
    alone = winner_test(returns, 0, PERIODS, seed=1)
    copies = winner_test(np.repeat(returns, 50, axis=1), 0, PERIODS, seed=1)
    assert alone is not None
    assert copies is not None
    assert copies.p_value == alone.p_value


def test_trials_that_are_clearly_bad_are_no_rivals() -> None:
    returns = noise(101)
    alone = winner_test(returns[:, :1], 0, PERIODS, seed=1)
    returns[:, 1:] -= 1.0
    among = winner_test(returns, 0, PERIODS, seed=1)
    assert alone is not None
    assert among is not None
    assert among.p_value == alone.p_value


def test_an_edge_is_found_among_many_trials() -> None:
    returns = noise(500)
    returns[:, 42] += 0.6
    found = winner_test(returns, 42, PERIODS, seed=1)
    assert found is not None
    assert found.p_value == pytest.approx(0.001)


def test_batches_give_what_one_pass_gives() -> None:
    returns = noise(1300)
    once, batches = RealityCheck(PERIODS, seed=1, draws=200), RealityCheck(PERIODS, seed=1, draws=200)
    statistic = once.add(returns)
    for at in range(0, 1300, 170):
        batches.add(returns[:, at : at + 170])
    assert once.test(float(statistic.max())) == batches.test(float(statistic.max()))


def test_trials_with_few_results_are_not_tested_and_counted() -> None:
    returns = noise(3)
    returns[19:, 0] = 0
    found = winner_test(returns, 1, PERIODS, seed=1)
    assert found is not None
    assert (found.tested_count, found.untested_count) == (2, 1)
    assert winner_test(returns, 0, PERIODS, seed=1) is None


@pytest.mark.parametrize("count", [1, 2, 19])
def test_too_few_periods_are_not_tested(count: int) -> None:
    """A single period leaves nothing to resample: the correction for blocks divided by zero."""
    periods = Periods(row=np.arange(count), count=count, seconds=86_400, block_rows=1)
    assert winner_test(noise(3)[:count], 0, periods, seed=1) is None


def test_wrong_shapes_and_missing_results_are_refused() -> None:
    with pytest.raises(EvidenceError, match=r"allowed is \(100 periods, trials\)"):
        RealityCheck(PERIODS, seed=1).add(np.ones((99, 3)))
    with pytest.raises(EvidenceError, match="not finite"):
        RealityCheck(PERIODS, seed=1).add(np.full((100, 3), np.nan))
    with pytest.raises(EvidenceError, match="winner 3 is not among 3 trials"):
        winner_test(noise(3), 3, PERIODS, seed=1)
