"""Probability of backtest overfitting: published examples, by hand, against a slow version, on noise."""

import itertools
import math

import numpy as np
import pytest
from scipy.special import ndtri

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.backtest_overfitting import Measure, overfitting_estimate

RISK_FREE_DAY = 0.03 / 252
"""What the Sharpe ratio of both published examples takes off every return."""


def normals_of_r(seed: int, count: int) -> FloatArray:
    """Return what `set.seed(seed); rnorm(count)` gives in R: Mersenne Twister, and inversion of two draws each.

    The published examples below are made of R's random numbers, so they can be made again to the last digit.
    """
    words, word = [], seed
    for _ in range(50 + 625):
        word = (69069 * word + 1) % 2**32
        words.append(word)
    generator = np.random.MT19937()
    state = generator.state
    state["state"] = {"key": np.array(words[51:], dtype=np.uint32), "pos": 624}
    generator.state = state
    shares = generator.random_raw(2 * count).astype(np.float64) * 2.3283064365386963e-10
    found: FloatArray = ndtri((np.floor(2**27 * shares[::2]) + shares[1::2]) / 2**27)
    return found


def regression(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Return intercept, slope and adjusted R² of y by x."""
    slope, intercept = np.polyfit(x, y, 1)
    unexplained = np.sum((y - intercept - slope * x) ** 2) / np.sum((y - y.mean()) ** 2)
    return float(intercept), float(slope), float(1 - unexplained * (len(x) - 1) / (len(x) - 2))


def test_the_random_numbers_are_those_of_r() -> None:
    """`set.seed(42); rnorm(3)`, as many a page about R prints it."""
    assert normals_of_r(42, 3) == pytest.approx([1.37095845, -0.56469817, 0.36312841], abs=5e-9)


def test_trials_without_an_edge_of_the_vignette_of_pbo() -> None:
    """Barry, "Using the PBO package" (R package pbo 1.3.5 on CRAN), set up as the paper's first test case.

    100 trials of 2 400 normal returns, each scaled and moved to a Sharpe ratio of exactly 0, in 8 blocks. Printed
    there: p_bo 1, slope -0.0030456, ar^2 0.97, p_loss 1. Its regression explains the chosen measure by the other one,
    and what it calls the slope is the intercept of that.
    """
    returns = normals_of_r(765, 100 * 2400).reshape(100, 2400).T
    returns = returns / returns.std(axis=0, ddof=1) / math.sqrt(252)
    returns = returns - returns.mean(axis=0)
    estimate = overfitting_estimate(returns - RISK_FREE_DAY, block_count=8)
    intercept, _, explained = regression(estimate.other_measure, estimate.chosen_measure)
    assert (estimate.probability, estimate.loss_probability) == (1, 1)
    assert intercept == pytest.approx(-0.0030456, abs=5e-8)
    assert explained == pytest.approx(0.97, abs=5e-3)
    assert len(estimate.logits) == 70


def test_noise_of_the_tests_of_pbo() -> None:
    """The package's own test (github.com/mrbcuda/pbo, tests/test_pbo_function.R): 40 trials of 200 days, 4 blocks.

    Held there: phi and below_threshold in (0.49, 0.51), slope (the intercept, as above) in (0.19, 0.20), ar2 in
    (-0.24, -0.22).
    """
    returns = normals_of_r(852, 40 * 200).reshape(200, 40)
    estimate = overfitting_estimate(returns - RISK_FREE_DAY, block_count=4)
    intercept, _, explained = regression(estimate.other_measure, estimate.chosen_measure)
    assert (estimate.probability, estimate.loss_probability) == (0.5, 0.5)
    assert 0.19 < intercept < 0.20
    assert -0.24 < explained < -0.22


def test_four_blocks_by_hand() -> None:
    """Two trials, four blocks of two equal periods, chosen by their mean.

    A: 3, 1, -1, -2.5 and B: 0, 0, 1, 1 per block. Chosen on the left, tested on the right:
    {0,1} A 2 → A -1.75, B 1 (worse);   {2,3} B 1 → A 2, B 0 (worse);   {0,2} A 1 → A -0.75, B 0.5 (worse);
    {1,3} B 0.5 → A 1, B 0.5 (worse);   {0,3} B 0.5 → A 0, B 0.5 (better);   {1,2} B 0.5 → A 0.25, B 0.5 (better).
    Ranks of 2 trials are 1/3 and 2/3, logits -ln 2 and ln 2. A loses twice. Slope: sums of products about the means
    -2.58333 / 1.70833.
    """
    returns = np.repeat(np.array([[3.0, 0.0], [1.0, 0.0], [-1.0, 1.0], [-2.5, 1.0]]), 2, axis=0)
    estimate = overfitting_estimate(returns, block_count=4, measure="mean")
    assert sorted(estimate.logits.tolist()) == pytest.approx([-math.log(2)] * 4 + [math.log(2)] * 2)
    assert estimate.probability == pytest.approx(4 / 6)
    assert estimate.loss_probability == pytest.approx(2 / 6)
    assert estimate.degradation_slope == pytest.approx(-2.583333 / 1.708333, rel=1e-5)


def slow_estimate(returns: np.ndarray, block_count: int, measure: Measure) -> tuple[float, float]:
    """Return both probabilities, split by split, as the definition reads."""

    def measured(rows: np.ndarray) -> np.ndarray:
        mean = rows.mean(axis=0)
        return mean if measure == "mean" else mean / rows.std(axis=0, ddof=1)

    edges = [len(returns) * block // block_count for block in range(block_count + 1)]
    blocks = [returns[a:b] for a, b in itertools.pairwise(edges)]
    worse, losses, splits = 0, 0, 0
    for half in itertools.combinations(range(block_count), block_count // 2):
        taken = measured(np.concatenate([blocks[block] for block in half]))
        other = measured(np.concatenate([blocks[block] for block in range(block_count) if block not in half]))
        best = int(taken.argmax())
        rank = (np.sum(other < other[best]) + 1) / (len(other) + 1)
        worse += rank <= 0.5
        losses += other[best] < 0
        splits += 1
    return worse / splits, losses / splits


@pytest.mark.parametrize("measure", ["mean", "sharpe"])
@pytest.mark.parametrize("seed", range(5))
def test_block_sums_give_what_the_definition_gives(measure: Measure, seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(4, (61, 12)) + 100 * rng.random()  # a large mean would cost digits
    estimate = overfitting_estimate(returns, block_count=6, measure=measure)
    assert (estimate.probability, estimate.loss_probability) == slow_estimate(returns, 6, measure)
    assert len(estimate.logits) == math.comb(6, 3)


def test_on_noise_the_choice_is_worth_nothing() -> None:
    estimates = [
        overfitting_estimate(np.random.default_rng(seed).standard_normal((320, 50)), block_count=8)
        for seed in range(60)
    ]
    # One estimate scatters by about 0.25, their mean by 0.03.
    assert np.mean([estimate.probability for estimate in estimates]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([estimate.loss_probability for estimate in estimates]) == pytest.approx(0.5, abs=0.1)


def test_a_dominant_trial_is_chosen_rightly() -> None:
    returns = np.random.default_rng(0).standard_normal((320, 50))
    returns[:, 7] += 0.5
    estimate = overfitting_estimate(returns, block_count=16)
    assert estimate.probability < 0.01
    assert estimate.loss_probability < 0.01
    assert len(estimate.logits) == 12_870


def test_equal_trials_share_their_rank() -> None:
    returns = np.repeat(np.random.default_rng(0).standard_normal((40, 1)), 5, axis=1)
    estimate = overfitting_estimate(returns, block_count=4)
    assert estimate.logits.tolist() == [0.0] * 6
    assert estimate.probability == 1  # no better than the median


def test_a_trial_that_never_trades_has_the_ratio_0() -> None:
    returns = np.zeros((40, 2))
    returns[:, 1] = -1 + 0.1 * np.random.default_rng(0).standard_normal(40)
    estimate = overfitting_estimate(returns, block_count=4)
    assert estimate.chosen_measure.tolist() == [0.0] * 6
    assert estimate.degradation_slope is None
    assert estimate.probability == 0


@pytest.mark.parametrize(
    ("shape", "blocks", "message"),
    [((40, 5), 5, "5 blocks"), ((40, 5), 22, "22 blocks"), ((7, 5), 4, "7 periods"), ((40, 1), 4, "1 trials")],
)
def test_too_little_to_cut_is_refused(shape: tuple[int, int], blocks: int, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        overfitting_estimate(np.ones(shape), block_count=blocks)


def test_missing_results_are_refused() -> None:
    with pytest.raises(EvidenceError, match="not finite"):
        overfitting_estimate(np.full((40, 2), np.nan), block_count=4)
