"""The published examples of the probabilistic and the deflated Sharpe ratio, and the count of independent trials."""

import math

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.sharpe_significance import (
    SharpeMoments,
    deflate_winner,
    deflated_sharpe,
    expected_best_sharpe,
    independent_trial_count,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_moments,
)


@pytest.mark.parametrize(
    ("trial_count", "skew", "kurtosis", "published"),
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_deflated_sharpe_of_the_paper(trial_count: int, skew: float, kurtosis: float, published: float) -> None:
    """Bailey & López de Prado (2014), "A numerical example": 5 years of 250 days, annual ratio 2.5, variance 1/2."""
    moments = SharpeMoments(sharpe=2.5 / math.sqrt(250), skew=skew, kurtosis=kurtosis, period_count=1250)
    assert deflated_sharpe(moments, trial_count, 0.5 / 250) == pytest.approx(published, abs=5e-5)


def test_expected_best_of_a_hundred_trials_of_the_paper() -> None:
    """The same example: the best of 100 trials is expected to have 0.1132 per day."""
    assert expected_best_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize(("skew", "kurtosis", "published"), [(0, 3, 0.982), (-2.448, 10.164, 0.913)])
def test_probabilistic_sharpe_of_the_paper(skew: float, kurtosis: float, published: float) -> None:
    """Bailey & López de Prado (2012), section 4: 24 months of 0.458 per month, with and without its moments."""
    moments = SharpeMoments(sharpe=0.458, skew=skew, kurtosis=kurtosis, period_count=24)
    assert probabilistic_sharpe(moments) == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(
    ("periods_per_year", "skew", "kurtosis", "published_years"),
    [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_of_the_paper(
    periods_per_year: int, skew: float, kurtosis: float, published_years: float
) -> None:
    """Bailey & López de Prado (2012), section 5: an annual ratio of 2 shown to be above 1 with 95 % confidence."""
    year = math.sqrt(periods_per_year)
    moments = SharpeMoments(sharpe=2 / year, skew=skew, kurtosis=kurtosis, period_count=100)
    periods = minimum_track_record(moments, 1 / year)
    assert periods is not None
    assert periods / periods_per_year == pytest.approx(published_years, abs=5e-3)


def test_other_implementations_print_the_same_digits() -> None:
    """The tests of pypbo (github.com/esvhd/pypbo, pypbo/tests/pbo_tests.py) hold these to 1e-5 of their value."""
    example = SharpeMoments(sharpe=2.5 / math.sqrt(250), skew=-3, kurtosis=10, period_count=1250)
    assert deflated_sharpe(example, 100, 0.5 / 250) == pytest.approx(0.90039683444939034, rel=1e-9)
    assert expected_best_sharpe(100, 1.0) == pytest.approx(2.5306028932016846, rel=1e-9)
    hedge_fund = SharpeMoments(sharpe=1.585 / math.sqrt(12), skew=-2.448, kurtosis=10.164, period_count=24)
    assert probabilistic_sharpe(hedge_fund) == pytest.approx(0.91323430688486018, rel=1e-9)
    monthly = SharpeMoments(sharpe=3 / math.sqrt(12), skew=-0.72, kurtosis=5.78, period_count=100)
    periods = minimum_track_record(monthly, 2.5 / math.sqrt(12))
    assert periods is not None
    assert periods / 12 == pytest.approx(27.352920196040301, rel=1e-9)


def test_examples_of_mlfinlab() -> None:
    """The tests of mlfinlab (github.com/hudson-and-thames/mlfinlab, tests/test_backtest_statistics.py)."""
    moments = SharpeMoments(sharpe=1.14, skew=0, kurtosis=3, period_count=250)
    # Digits are cut off there, not rounded.
    assert probabilistic_sharpe(moments, 1) == pytest.approx(0.95727, abs=1e-5)
    assert minimum_track_record(moments, 1) == pytest.approx(228.73497, abs=1e-5)


def test_no_track_record_shows_a_ratio_above_its_own() -> None:
    assert minimum_track_record(SharpeMoments(0.1, 0, 3, 50), 0.1) is None


def test_moments_by_hand() -> None:
    # -1, 0, 0, 5: mean 1, deviations -2 -1 -1 4, squares 22, cubes 54, fourth powers 274.
    moments = sharpe_moments(np.array([-1.0, 0.0, 0.0, 5.0]))
    assert moments is not None
    assert moments.sharpe == pytest.approx(1 / math.sqrt(22 / 3))
    assert moments.skew == pytest.approx((54 / 4) / 5.5**1.5)
    assert moments.kurtosis == pytest.approx((274 / 4) / 5.5**2)


@pytest.mark.parametrize("returns", [[0.1, 0.2], [0.1] * 9, [0.0] * 5])
def test_too_short_or_constant_returns_have_no_moments(returns: list[float]) -> None:
    assert sharpe_moments(np.array(returns)) is None


def test_one_trial_is_not_deflated() -> None:
    moments = SharpeMoments(0.1, -1, 5, 300)
    assert deflated_sharpe(moments, 1, 0.01) == probabilistic_sharpe(moments)


def test_copies_of_one_trial_count_once_and_strangers_count_each() -> None:
    rng = np.random.default_rng(1)
    one = rng.standard_normal(2000)
    assert independent_trial_count(np.repeat(one[:, None], 50, axis=1)) == pytest.approx(1)
    strangers = rng.standard_normal((2000, 50))
    assert independent_trial_count(strangers) == pytest.approx(50, abs=1)
    # Half common: correlation 0.5, 0.5 + 0.5 · 50 = 25.5.
    assert independent_trial_count(one[:, None] + strangers) == pytest.approx(25.5, abs=1.5)


def test_mean_correlation_is_that_of_all_pairs() -> None:
    returns = np.random.default_rng(2).standard_normal((40, 7)) + np.linspace(0, 3, 40)[:, None]
    correlation = np.corrcoef(returns.T)
    mean = (correlation.sum() - 7) / 42
    assert independent_trial_count(returns) == pytest.approx(mean + (1 - mean) * 7)


def test_trials_that_never_trade_are_no_trials() -> None:
    returns = np.hstack([np.zeros((100, 3)), np.random.default_rng(3).standard_normal((100, 2))])
    assert independent_trial_count(returns) <= 2


def test_the_best_of_noise_is_deflated_below_what_it_seems() -> None:
    returns = np.random.default_rng(4).standard_normal((500, 100))
    winner = int((returns.mean(axis=0) / returns.std(axis=0)).argmax())
    deflated = deflate_winner(returns, winner)
    assert deflated is not None
    assert probabilistic_sharpe(deflated.moments) > 0.99
    assert deflated.probability < 0.8
    # Ten times as many trials, of which these are known, raise the bar.
    more = deflate_winner(returns, winner, trial_count=1000)
    assert more is not None
    assert more.threshold > deflated.threshold


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(EvidenceError, match=r"0\.5 independent trials"):
        expected_best_sharpe(0.5, 0.1)
    with pytest.raises(EvidenceError, match=r"confidence is 0\.4"):
        minimum_track_record(SharpeMoments(0.1, 0, 3, 50), confidence=0.4)
    with pytest.raises(EvidenceError, match="no returns have skew 30"):
        probabilistic_sharpe(SharpeMoments(0.5, 30, 3, 50))
    with pytest.raises(EvidenceError, match="winner 3"):
        deflate_winner(np.ones((5, 3)), 3)
