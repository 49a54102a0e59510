"""From stored rows to what is drawn."""

import json
import math
from datetime import date
from typing import Any

from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.report.search_collect import search_content

DAY = 86_400
FIRST = 1_738_540_800  # 2025-02-03
SPACE = {
    "parameters": [
        {"path": "b", "type": "float", "low": 0.1, "high": 1.0},
        {"path": "a", "type": "categorical", "choices": ["x", None]},
    ]
}


def _job(**changes: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(("tally_json", "verdict_json", "evidence_json", "note", "error_message"))
    return {
        **empty,
        "job_id": 3,
        "name": "n",
        "status": "completed",
        "objective": "max:sqn",
        "search_space_json": json.dumps(SPACE),
        "plan_json": "{}",
        "data_json": "{}",
        "template": "t",
        "stored_count": 3,
        **{name: json.dumps(value) if name.endswith("_json") else value for name, value in changes.items()},
    }


def _row(index: int, score: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "trial_index": index,
        "trial_params_json": json.dumps({"a": "x", "b": 0.5}),
        "simulation_run_id": 100 + index,
        "score": score,
        "state": "scored" if score is not None else "failed",
        "scores_json": None if score is None else json.dumps([score]),
        "violation": 0.0,
        "reason": "" if score is not None else "no candles",
        "metrics_json": json.dumps({"trade_count": 12}),
        **changes,
    }


def test_every_row_becomes_a_trial_and_the_best_come_first() -> None:
    found = search_content(_job(), [_row(2, 0.5), _row(0, 0.1), _row(1, None)], has_every_row=True, top=1)

    assert [trial.index for trial in found.trials] == [0, 1, 2]
    assert [trial.index for trial in found.best] == [2]
    assert found.counts == {"scored": 2, "failed": 1}
    assert found.reasons == {"failed": [(1, "no candles")]}
    assert (found.trial_count, found.is_sample, found.run_ids[2]) == (3, False, 102)
    assert [parameter.path for parameter in found.parameters] == ["b", "a"]


def test_jobs_of_older_versions_have_one_score_and_no_tally() -> None:
    row = _row(0, 0.25, scores_json=None)
    job = _job(search_space_json={}, objective="what an older version read")
    found = search_content(job, [row], has_every_row=True)

    assert found.trials[0].scores == (0.25,)
    assert [goal.text for goal in found.goals] == ["what an older version read"]
    # Read off the trials: a text is a choice, a number a range.
    assert [(parameter.path, parameter.type) for parameter in found.parameters] == [
        ("a", "categorical"),
        ("b", "float"),
    ]
    assert found.verdict is found.walk_forward is found.sharpes is found.overfitting is None


def test_big_jobs_are_drawn_from_the_sample_of_their_tally() -> None:
    tally = SearchTally(keep=2, sample_size=50)
    for k in range(1_000):
        tally.add(TrialRecord(k, {"a": "x", "b": k / 1_000}, "scored", (k / 1_000,), metrics={"trade_count": k}))
    tally.add(TrialRecord(1_000, {"a": None}, "refused", None, violation=1.0, reason="sizes"))
    found = search_content(_job(tally_json=tally.document()), [_row(999, 0.999)], has_every_row=False)

    assert (found.is_sample, found.trial_count) == (True, 1_001)
    assert found.counts == {"scored": 1_000, "refused": 1}
    # The best ones need not be in the sample.
    assert {998, 999} <= {trial.index for trial in found.trials}
    assert 50 <= len(found.trials) <= 52
    assert [trial.index for trial in found.best] == [999, 998]
    assert found.reasons == {"refused": [(1_000, "sizes")]}


def test_minimised_goals_are_known_from_the_plan() -> None:
    tally = SearchTally()
    for k in range(3):
        tally.add(TrialRecord(k, {}, "scored", (float(k), -1.0 - k % 2)))
    goals = [{"direction": "max", "terms": {"sqn": 1.0}}, {"direction": "min", "terms": {"max_drawdown": 1.0}}]
    job = _job(plan_json={"objective": {"goals": goals}, "sampler": "nsga2", "seed": 5}, tally_json=tally.document())
    found = search_content(job, [], has_every_row=False)

    assert [goal.is_minimised for goal in found.goals] == [False, True]
    # 0 has (0, -1), 1 has (1, -2), 2 has (2, -1), which beats both.
    assert [trial.index for trial in found.front] == [2]
    assert (found.sampler, found.seed) == ("nsga2", 5)


def test_evidence_becomes_curves_and_spreads() -> None:
    evidence = {
        "walk_forward": {
            "reason": "",
            "windows": [
                {
                    "test_from": "2025-02-03T00:00:00+00:00",
                    "test_to": "2025-02-05T00:00:00+00:00",
                    "trial": 2,
                    "params": {"a": "x"},
                    "score": 0.5,
                    "trades": 3,
                    "mean_pnl": 0.1,
                }
            ],
            "trades": {"signal_s": [FIRST, FIRST + 60, FIRST + DAY], "pnl": [0.1, 0.3, -0.1], "window": [0, 0, 0]},
        },
        "combinatorial": {"path_means": [0.1, None, 0.2]},
        "overfitting": {"logit_edges": [-1, 0, 1], "logit_counts": [4, 6]},
        "sharpes": {"per_period": [0.1, None, 0.2], "period_seconds": DAY, "threshold": 0.15, "winner": 0.2},
    }
    verdict = {
        "answer": "too little data to say",
        "reasons": ["r"],
        "cautions": [],
        "deflated_sharpe": {"probability": 0.6, "trial_count": 40, "independent_count": 12.5},
        "backtest_overfitting": {"probability": 0.4},
    }
    found = search_content(_job(evidence_json=evidence, verdict_json=verdict), [_row(2, 0.5)], has_every_row=True)

    curve = found.walk_forward
    assert curve is not None
    # 0.4 on the first day and 0.3 after the second, over three trades.
    assert curve.days == (date(2025, 2, 3), date(2025, 2, 4))
    assert [round(value, 9) for value in curve.values] == [round(0.4 / 3, 9), 0.1]
    assert (curve.windows[0].test_to, curve.windows[0].trial) == (date(2025, 2, 5), 2)
    assert found.sharpes is not None
    assert (found.sharpes.ratios, found.sharpes.probability, found.sharpes.trial_count) == ((0.1, 0.2), 0.6, 40)
    assert found.overfitting is not None
    assert (found.overfitting.logits.counts, found.overfitting.probability) == ((4, 6), 0.4)
    assert found.path_means == (0.1, 0.2)
    assert found.verdict is not None
    assert found.verdict.reasons == ("r",)


def test_a_failed_job_says_why() -> None:
    job = _job(status="failed", error_message="no entry calls", verdict_json=None, evidence_json=None)

    assert search_content(job, [], has_every_row=True).note == "no entry calls"


def test_scores_that_json_can_not_hold_are_no_numbers() -> None:
    found = search_content(_job(), [_row(0, 0.5, scores_json="[null]")], has_every_row=True)

    assert math.isnan((found.trials[0].scores or (0.0,))[0])
    assert found.scored() == []
