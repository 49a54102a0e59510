"""Scores of new calls and drift, on real servers: of what came after training, once, by the registered file alone."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.storage.records import ModelRow, NewModel
from quantbot_pipeline.workflows.build_features import FeaturePlan
from quantbot_pipeline.workflows.model_cards import write_model_card
from quantbot_pipeline.workflows.model_drift import measure_model_drift
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.score_calls import ScoreCounts, models_to_score, plan_of_model, score_stored_calls
from quantbot_pipeline.workflows.train_models import ModelPlan, deprecate, promote, train_and_register
from tests.workflows.scene import BONK, MARCH, MINUTE, Dying, Killed, Scene, alert, candle_rows
from tests.workflows.stored_features import store_features

pytestmark = pytest.mark.server

TRAINED_CALLS, NEW_CALLS = 260, 60


def trained(scene: Scene, folder: Path) -> ModelRow:
    """Return a model in use, made of calls eleven minutes apart on swinging prices; candles go on for later calls."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 11 * (TRAINED_CALLS + NEW_CALLS) + 60))
    scene.call(*(alert(k, MARCH + (30 + 11 * k) * MINUTE) for k in range(TRAINED_CALLS)))
    run_simulations(scene.plan(scene.strategy()), scene.state, scene.history)
    store_features("plain", scene.state, scene.history)
    outcome = train_and_register(ModelPlan(strategy="plain", model_type="logistic"), scene.state, scene.history, folder)
    assert outcome.status == "ready", outcome.result.reason
    [row] = scene.state.load_models()
    return row


def call_later(scene: Scene) -> None:
    """Store calls after the others, of a kind that was not there before: a thousandfold market cap."""
    numbers = range(TRAINED_CALLS, TRAINED_CALLS + NEW_CALLS)
    scene.call(*(alert(k, MARCH + (30 + 11 * k) * MINUTE, alert_market_cap=1e6 + k) for k in numbers))


def parts(counts: ScoreCounts) -> tuple[int, int, int, int]:
    """Return scored, renewed, already scored and before training, once they add up."""
    found = (counts.scored, counts.renewed, counts.already_scored, counts.before_training)
    assert sum(found) + counts.without_features == counts.calls
    assert counts.without_features == 0
    return found


def test_new_calls_are_scored_once_and_those_from_before_training_never(scene: Scene, tmp_path: Path) -> None:
    row = trained(scene, tmp_path)
    assert row.trained_until is not None
    later = sum(call.signal_timestamp > row.trained_until for call in scene.state.load_calls())
    before = TRAINED_CALLS - later

    def score(**options: object) -> tuple[int, int, int, int]:
        [counts] = score_stored_calls(scene.state, scene.history, **options)  # type: ignore[arg-type]  # as given below
        assert (counts.name, counts.version, counts.trained_until) == (row.name, row.version, row.trained_until)
        return parts(counts)

    def stored() -> list[tuple[int, datetime, float]]:
        scores = scene.history.load_call_scores([row.name], range(1, 1_000)).to_pylist()
        return [(each["call_id"], each["trained_until"], each["score"]) for each in scores]

    # Training scored what came after it; of what it learned from there are the scores of its folds alone.
    after_training = stored()
    assert score() == (0, 0, later, before)
    assert stored() == after_training
    assert measure_model_drift(row, scene.state, scene.history).verdict == "too few calls"

    call_later(scene)
    # Nothing is built or stored to count.
    assert score(is_dry_run=True) == (NEW_CALLS, 0, later, before)
    assert stored() == after_training
    # A death before the scores are stored leaves features, which the next attempt finds.
    with pytest.raises(Killed):
        score_stored_calls(scene.state, Dying(scene.history, "insert_scores", after=False))  # type: ignore[arg-type]
    assert stored() == after_training
    assert score() == (NEW_CALLS, 0, later, before)
    all_scored = stored()
    assert len(all_scored) == len(after_training) + NEW_CALLS
    first_new = MARCH + (30 + 11 * TRAINED_CALLS) * MINUTE
    new = sorted(call.call_id for call in scene.state.load_calls() if call.signal_timestamp >= first_new)
    assert {call for call, until, _ in all_scored if until == row.trained_until} > set(new)
    assert score() == (0, 0, later + NEW_CALLS, before)
    assert stored() == all_scored

    # What was corrected is scored anew, in place of the score before.
    scene.change_state("update alerts set alert_market_cap = 10 where alert_timestamp = %s", first_new)
    assert score() == (0, 1, later + NEW_CALLS - 1, before)
    rescored = stored()
    assert len(rescored) == len(all_scored)
    assert {call for call, _, _ in set(rescored) ^ set(all_scored)} == {new[0]}

    # Some of the calls.
    assert score(call_ids=[1, new[0]]) == (0, 0, 1, 1)
    assert score(since=first_new) == (0, 0, NEW_CALLS, 0)
    with pytest.raises(InputError, match=r"call 9999 \(1 of 2\) does not exist"):
        score(call_ids=[1, 9999])

    # The calls of now are those after its last window, and what was done to them is found.
    drift = measure_model_drift(row, scene.state, scene.history)
    assert (drift.calls, drift.verdict) == (NEW_CALLS, "drifted")
    columns = {column.name: column for column in drift.columns}
    assert columns["log_market_cap"].verdict == "drifted"
    assert columns["rsi_14"].verdict == "stable"
    assert columns["caller_calls_before"].verdict == "moves by itself"
    assert f"drifted; the last {NEW_CALLS} calls differ" in drift.sentence()
    assert measure_model_drift(row, scene.state, scene.history, days=1).calls == NEW_CALLS
    page = write_model_card(row, tmp_path.with_name("reports"), drift).read_text(encoding="utf-8")
    assert drift.sentence() in page
    assert "<code>log_market_cap</code>" in page
    # What is certain to move is shown with the reason.
    assert "it counts what has happened so far" in page

    # Out of use it keeps its scores and gets no more: it would be read, by its id also in place of the one in use.
    deprecate(scene.state, row.name)
    scene.call(alert(998, MARCH + 3_599 * MINUTE))
    with pytest.raises(
        InputError, match=r"is deprecated: a version that is out of use scores no further calls.*promote"
    ):
        score(version=row.version, name=row.name)
    assert score(version=row.version, name=row.name, is_dry_run=True) == (1, 0, later + NEW_CALLS, before)
    assert stored() == rescored
    promote(scene.state, row.name, row.version)

    # A file that was changed scores nothing.
    call_later_still = alert(999, MARCH + 3_600 * MINUTE)
    scene.call(call_later_still)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(LearningError, match="is not the one that was registered"):
        score()
    assert len(stored()) == len(all_scored)


def model(**changes: object) -> NewModel:
    plain = NewModel(
        name="take",
        version="1",
        model_type="logistic",
        input_features=("hour_sin",),
        label_definition={},
        storage_uri="file:///nowhere/take.skops",
        sha256="0" * 64,
        metrics={"feature_set": FeaturePlan("plain").feature_set},
        status="ready",
        trained_until=MARCH,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # named as its fields


def test_models_that_are_not_in_use_score_nothing_and_say_why(scene: Scene) -> None:
    with pytest.raises(InputError, match=r"no model is in use.*quantbot train"):
        score_stored_calls(scene.state, scene.history)
    scene.state.register_model(model(version="0", status="failed"))
    with pytest.raises(InputError, match="no model is in use"):
        score_stored_calls(scene.state, scene.history)
    with pytest.raises(InputError, match=r"'take' has no version in use; its newest is 0 \(failed\)"):
        score_stored_calls(scene.state, scene.history, name="take")
    with pytest.raises(InputError, match="is failed: it does not beat its baselines"):
        score_stored_calls(scene.state, scene.history, name="take", version="0")
    with pytest.raises(InputError, match="name the model too"):
        score_stored_calls(scene.state, scene.history, version="0")
    with pytest.raises(InputError, match="'nobody' is not registered"):
        score_stored_calls(scene.state, scene.history, name="nobody")

    scene.state.register_model(model(trained_until=None))
    scene.state.register_model(model(name="rank"))
    scene.state.register_model(model(version="2", status="deprecated"))
    assert [row.name for row in models_to_score(scene.state)] == ["rank", "take"]
    assert [row.version for row in models_to_score(scene.state, "take", "2")] == ["2"]
    with pytest.raises(LearningError, match="nowhere"):
        score_stored_calls(scene.state, scene.history)
    [old] = models_to_score(scene.state, "take")
    with pytest.raises(LearningError, match="does not say what its training calls were like"):
        measure_model_drift(old, scene.state, scene.history)


def test_features_of_a_model_are_told_from_the_name_of_their_set(scene: Scene) -> None:
    plan = FeaturePlan("ladder-dip", ("attribute:a/b", "attribute:score"))
    scene.state.register_model(model(metrics={"feature_set": plan.feature_set}))
    [row] = scene.state.load_models()
    assert plan_of_model(row) == plan
    for other in ("call_v1/plain", "call_v2", ""):
        with pytest.raises(LearningError, match="train it again"):
            plan_of_model(replace(row, metrics={"feature_set": other}))
