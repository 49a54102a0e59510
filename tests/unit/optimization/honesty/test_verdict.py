"""The rule and its words."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.backtest_overfitting import OverfittingEstimate
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import MeanResult
from quantbot_pipeline.optimization.honesty.made_up_searches import SearchWorld, made_up_verdict
from quantbot_pipeline.optimization.honesty.permutation import PermutationResult
from quantbot_pipeline.optimization.honesty.reality_check import WinnerTest
from quantbot_pipeline.optimization.honesty.sensitivity import neighbourhood_sensitivity
from quantbot_pipeline.optimization.honesty.sharpe_significance import DeflatedSharpe, SharpeMoments
from quantbot_pipeline.optimization.honesty.verdict import Answer, DecisionRule, Evidence, verdict

UNSEEN = MeanResult(
    mean=0.05,
    low=0.02,
    high=0.08,
    confidence=0.95,
    p_value=0.004,
    standard_error=0.018,
    deviation=0.25,
    trade_count=200,
    period_count=80,
    independent_count=192.9,
)
WINNER = WinnerTest(p_value=0.002, statistic=4.5, tested_count=200, untested_count=0, typical_best=2.1)
DEFLATED = DeflatedSharpe(
    probability=0.97,
    moments=SharpeMoments(0.4, 0, 3, 120),
    threshold=0.2,
    trial_count=200,
    independent_count=50.5,
    sharpe_variance=0.01,
)
OVERFITTING = OverfittingEstimate(
    probability=0.1,
    loss_probability=0.02,
    degradation_slope=-0.3,
    logits=np.ones(70),
    chosen_measure=np.ones(70),
    other_measure=np.ones(70),
    block_count=8,
)
PERMUTATION = PermutationResult(p_value=0.01, at_least_as_good=9, shuffle_count=999, stopped_early=False)
ALL = Evidence(
    unseen=UNSEEN,
    unseen_count=200,
    winner=WINNER,
    deflated=DEFLATED,
    overfitting=OVERFITTING,
    permutation=PERMUTATION,
    sensitivity=neighbourhood_sensitivity(np.full(10, 9.0), best_score=10, typical_score=2),
)


def test_yes_needs_every_test_and_says_each() -> None:
    found = verdict(ALL)
    assert found.answer is Answer.DISTINGUISHABLE
    assert found.cautions == ()
    assert found.reasons == (
        "Unseen trades of the walk-forward (200 in 80 periods) earned +5.00% each, with 90% confidence between +2.00% "
        "and +8.00%; p = 0.004, within the 0.05 allowed.",
        "The winner stands 4.5 standard errors above 0, where the best of 200 trials without an edge typically stands "
        "2.1; p = 0.002, within the 0.05 allowed.",
        "Of 999 shuffles of the calls' times, 9 did at least as well; p = 0.010, within the 0.05 allowed.",
        "The trial that was best on half of the periods lost on the other half in 2% of 70 splits; at most 50% was "
        "allowed.",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unseen": replace(UNSEEN, p_value=0.0501)}, "Unseen trades"),
        ({"winner": replace(WINNER, p_value=0.06)}, "The winner stands"),
        ({"permutation": replace(PERMUTATION, p_value=0.2)}, "Of 999 shuffles"),
        ({"overfitting": replace(OVERFITTING, loss_probability=0.51)}, "The trial that was best on half"),
        ({"winner": None, "deflated": replace(DEFLATED, probability=0.9)}, "Deflated Sharpe ratio 0.90"),
    ],
)
def test_one_test_that_fails_is_a_no_and_its_reason_comes_first(change: dict[str, Any], reason: str) -> None:
    found = verdict(replace(ALL, **change))
    assert found.answer is Answer.NOT_DISTINGUISHABLE
    assert found.reasons[0].startswith(reason)
    assert found.passed == (False, True, True, True)
    assert found.document()["passed"] == [False, True, True, True]


def test_what_was_not_computed_is_not_asked() -> None:
    found = verdict(Evidence(unseen=UNSEEN, unseen_count=200, winner=WINNER))
    assert found.answer is Answer.DISTINGUISHABLE
    assert len(found.reasons) == 2


def test_without_series_of_the_trials_the_deflated_ratio_decides() -> None:
    found = verdict(replace(ALL, winner=None))
    assert found.answer is Answer.DISTINGUISHABLE
    assert found.reasons[1] == (
        "Deflated Sharpe ratio 0.97: the winner's 0.400 per period, where luck gives the best of 200 trials (worth 50 "
        "independent ones) 0.200. 0.95 was needed. It decides here in place of the reality check, which needs results "
        "of the winner in 20 periods."
    )
    few = verdict(replace(ALL, deflated=replace(DEFLATED, probability=0.9, independent_count=6.83)))
    assert "(worth 6.8 independent ones)" in few.cautions[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unseen_count": 29}, "The walk-forward made 29 trades; 30 are needed."),
        ({"unseen_count": 0, "unseen": None}, "The walk-forward made 0 trades; 30 are needed."),
        ({"unseen": None}, "The results of the walk-forward's trades do not vary, so nothing can be resampled."),
        (
            {"unseen": replace(UNSEEN, period_count=19)},
            "The walk-forward's trades fall into 19 periods; 20 are needed.",
        ),
        ({"winner": None, "deflated": None}, "The winner has results in fewer than 20 periods."),
    ],
)
def test_too_little_data_is_said_even_of_a_splendid_winner(change: dict[str, Any], reason: str) -> None:
    found = verdict(replace(ALL, **change))
    assert found.answer is Answer.TOO_LITTLE_DATA
    assert found.reasons == (reason,)
    assert found.passed == (None,)


def test_a_no_that_could_not_have_been_a_yes_is_too_little_data() -> None:
    # (1.645 + 0.842) · 0.06 / 0.25 = 0.597 deviations.
    blind = replace(UNSEEN, p_value=0.2, standard_error=0.06, independent_count=17.4)
    found = verdict(replace(ALL, unseen=blind))
    assert found.answer is Answer.TOO_LITTLE_DATA
    assert found.reasons[0] == (
        "200 unseen trades, worth 17 independent ones, would show only an edge of 0.60 deviations of a trade or more; "
        "0.5 is asked for."
    )
    assert verdict(replace(ALL, unseen=blind), DecisionRule(telling_edge=0.6)).answer is Answer.NOT_DISTINGUISHABLE


def test_what_does_not_decide_is_said_as_a_caution() -> None:
    peak = neighbourhood_sensitivity(np.full(10, 3.0), best_score=10, typical_score=2)
    found = verdict(
        replace(
            ALL,
            searched_inside=False,
            sensitivity=peak,
            overfitting=replace(OVERFITTING, probability=0.6),
            deflated=replace(DEFLATED, probability=0.9),
            winner=replace(WINNER, untested_count=3),
        )
    )
    assert found.answer is Answer.DISTINGUISHABLE
    assert [caution.split()[0:3] for caution in found.cautions] == [
        ["The", "walk-forward", "chose"],
        ["3", "trials", "have"],
        ["Deflated", "Sharpe", "ratio"],
        ["Probability", "of", "backtest"],
        ["Around", "the", "best"],
    ]


def test_the_verdict_is_json() -> None:
    document = json.loads(json.dumps(verdict(ALL).document(), allow_nan=False))
    assert document["answer"] == "distinguishable from luck"
    assert document["walk_forward"]["p_value"] == 0.004
    assert document["permutation"]["shuffle_count"] == 999
    bare = verdict(Evidence(unseen=None, unseen_count=0)).document()
    assert bare["winner_among_trials"] is None
    assert json.dumps(bare, allow_nan=False)


def test_a_level_out_of_bounds_is_refused() -> None:
    with pytest.raises(EvidenceError, match="level is 0"):
        verdict(ALL, DecisionRule(level=0))


def test_the_same_seed_gives_the_same_verdict() -> None:
    world = SearchWorld(call_count=100, trial_count=20)
    assert made_up_verdict(world, 3).document() == made_up_verdict(world, 3).document()


def test_the_interval_and_the_test_of_unseen_trades_are_at_one_level() -> None:
    unseen = made_up_verdict(SearchWorld(call_count=100, trial_count=20), 1).evidence.unseen
    assert unseen is not None
    assert unseen.confidence == 1 - DecisionRule().level
    # Above 0 for certain if and only if luck is rejected.
    assert (unseen.low > 0) == (unseen.p_value <= 0.05)


def test_a_real_verdict_is_json() -> None:
    assert json.dumps(made_up_verdict(SearchWorld(call_count=100, trial_count=20), 1).document(), allow_nan=False)
