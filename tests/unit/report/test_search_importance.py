"""What parameters are worth: what is planted is found, what decides nothing gets nothing, too little is said."""

import math

import numpy as np
import pytest
from made_up_search import DROP, ENTRY, HOLD, MULTIPLE, PARAMETERS, STOP, search, unlucky

from quantbot_pipeline.optimization.parameters import CategoricalParameter, FloatParameter, Parameter
from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_importance import ImportanceEstimate, estimate_importance

A, B = (FloatParameter(type="float", path=name, low=0.0, high=1.0) for name in "ab")


def _trials(count: int, *, of_a: float, of_luck: float, seed: int = 0) -> list[TrialRecord]:
    """Return trials of random a and b whose score is a weighted sum of a and luck; b decides nothing."""
    draws = np.random.default_rng(seed).random((count, 3)).tolist()
    return [
        TrialRecord(k, {"a": a, "b": b}, "scored", (of_a * a + of_luck * luck,)) for k, (a, b, luck) in enumerate(draws)
    ]


def _shares(estimate: ImportanceEstimate) -> dict[str, float]:
    return {weight.path: weight.share for weight in estimate.weights}


def test_a_parameter_that_decides_gets_nearly_all() -> None:
    estimate = estimate_importance((A, B), _trials(200, of_a=1, of_luck=0.05))

    assert _shares(estimate)["a"] > 0.95
    assert [weight.path for weight in estimate.weights] == ["a", "b"]
    assert (estimate.explained or 0) > 0.8
    assert sum(_shares(estimate).values()) == pytest.approx(1)


def test_one_lucky_score_does_not_decide() -> None:
    # A jackpot that has nothing to do with b's low value there, over an order that a decides.
    trials = _trials(200, of_a=1, of_luck=0)
    jackpot = TrialRecord(200, {"a": 0.5, "b": 0.001}, "scored", (1e9,))

    assert _shares(estimate_importance((A, B), [*trials, jackpot]))["a"] > 0.95


def test_scores_that_parameters_do_not_decide_give_no_shares() -> None:
    for seed in range(3):
        estimate = estimate_importance((A, B), _trials(120, of_a=0, of_luck=1, seed=seed))

        assert estimate.weights == ()
        assert "can't be said" in estimate.refusal


def test_a_parameter_that_exists_sometimes_gets_no_merit_for_existing() -> None:
    # Entering on a dip decides together with the multiple; the drop exists only then and decides nothing.
    estimate = estimate_importance(PARAMETERS, search(160, 0).trials)
    shares = _shares(estimate)

    assert shares[MULTIPLE.path] > shares[ENTRY.path] > 0.02
    assert max(shares[DROP.path], shares[HOLD.path], shares[STOP.path]) < 0.02
    assert {weight.path: weight.present_count for weight in estimate.weights}[DROP.path] == 80


def test_choices_of_any_kind_are_told_apart() -> None:
    choices = (True, 1, "1", None, {"kind": "x"})
    parameter: Parameter = CategoricalParameter(type="categorical", path="c", choices=choices)
    trials = [
        # True and 1 are equal in Python, and their trials' scores are far apart.
        TrialRecord(k, {"c": choices[k % 5], "a": k * 0.618 % 1}, "scored", (float((3, 0, 4, 1, 2)[k % 5]),))
        for k in range(100)
    ]

    assert _shares(estimate_importance((parameter, A), trials))["c"] > 0.98


def test_equal_seeds_give_equal_numbers() -> None:
    trials = _trials(60, of_a=1, of_luck=1)

    assert estimate_importance((A, B), trials, seed=3) == estimate_importance((A, B), trials, seed=3)
    assert estimate_importance((A, B), trials, seed=3) != estimate_importance((A, B), trials, seed=4)


@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_trials_say_so(count: int) -> None:
    trials = [*_trials(count, of_a=1, of_luck=0), *(unlucky(k) for k in range(100, 150))]
    trials.append(TrialRecord(200, {"a": 0.5}, "scored", (math.nan,)))
    estimate = estimate_importance((A, B), trials)

    assert (estimate.weights, estimate.trial_count) == ((), count)
    assert estimate.refusal.endswith(f"20 need a score, {count} have one.")


def test_equal_scores_and_spaces_without_parameters_say_so() -> None:
    assert "same score" in estimate_importance((A, B), _trials(40, of_a=0, of_luck=0)).refusal
    assert estimate_importance((), _trials(40, of_a=1, of_luck=0)).refusal
