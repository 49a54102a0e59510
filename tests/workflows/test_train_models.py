"""Features and models on real servers: stored as computed, the same again, refused when changed."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import InputError, LearningError, TooFewCallsError
from quantbot_pipeline.learning.labels import Pnl, PnlAbove
from quantbot_pipeline.learning.model_files import load_model
from quantbot_pipeline.workflows.build_features import FeaturePlan
from quantbot_pipeline.workflows.model_cards import write_model_card
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.train_models import (
    ModelPlan,
    deprecate,
    find_model,
    model_plans,
    overall_labels,
    promote,
    too_few_common_calls,
    train_and_register,
    train_each,
)
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Dying, Killed, Scene, alert, candle_rows
from tests.workflows.stored_features import store_features

pytestmark = pytest.mark.server

PLAN = ModelPlan(strategy="plain", model_type="logistic")

ENOUGH_CALLS = 260
"""Eleven minutes apart: the last quarter is over more than ten hours, and the price swings as before."""


def simulate_calls(scene: Scene, count: int = 60, **fields: Any) -> None:
    """Store calls eleven minutes apart on swinging prices, and simulate them."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 11 * count + 60))
    scene.call(*(alert(k, MARCH + (30 + 11 * k) * MINUTE) for k in range(count)))
    run_simulations(scene.plan(scene.strategy(**fields)), scene.state, scene.history)


def bits(value: float) -> bytes:
    return struct.pack("d", value)


def test_features_are_read_back_bit_for_bit(scene: Scene) -> None:
    simulate_calls(scene)
    features = store_features("plain", scene.state, scene.history)
    stored = scene.history.read("features/load_features", feature_set=FeaturePlan("plain").feature_set).to_pylist()
    assert len(stored) == features.num_rows == 60
    for computed, row in zip(features.to_pylist(), stored, strict=True):
        values = {name: bits(value) for name, value in row["values"]}
        assert row["call_id"] == computed.pop("call_id")
        assert values == {name: bits(value) for name, value in computed.items()}
    # Neither all known nor all unknown.
    flat = [value != value for row in stored for _, value in row["values"]]
    assert 0 < sum(flat) < len(flat)


def test_features_stored_again_are_the_same_rows(scene: Scene) -> None:
    simulate_calls(scene)
    query = "select call_id, signal_timestamp, values from ml_features final order by call_id"
    store_features("plain", scene.state, scene.history)
    first = repr(scene.ask_history(query))
    store_features("plain", scene.state, scene.history)
    assert repr(scene.ask_history(query)) == first


def test_scale_in_calls_have_no_features_and_are_no_trades_of_their_caller(scene: Scene) -> None:
    """A scale-in that found nothing to scale leaves an event; building features once stumbled over it."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(
        alert(2, MARCH, signal_type=SignalType.SCALE_IN),
        alert(4, MARCH + 40 * MINUTE),
        alert(6, MARCH + 90 * MINUTE),
        alert(8, MARCH + 91 * MINUTE, signal_type=SignalType.EXIT),
    )
    run_simulations(scene.plan(scene.strategy(overlap="scale_in")), scene.state, scene.history)
    assert ("entry_skipped",) in scene.ask_history("select event_type from simulation_events")
    features = store_features("plain", scene.state, scene.history)
    # The second entry knows of one trade, the first of none.
    assert features["caller_finished_trades"].to_pylist() == [0.0, 1.0]


def test_without_calls_there_are_no_features_and_no_model(scene: Scene, tmp_path: Path) -> None:
    assert store_features("plain", scene.state, scene.history).num_rows == 0
    with pytest.raises(LearningError, match="no features are stored"):
        train_and_register(PLAN, scene.state, scene.history, tmp_path)


def test_calls_on_tokens_without_candles_have_features_all_the_same(scene: Scene) -> None:
    scene.call(alert(1, MARCH, token=PEPE), alert(2, MARCH, token=BONK))
    assert store_features("plain", scene.state, scene.history).num_rows == 2


def test_the_same_plan_on_the_same_data_is_the_same_model(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    first = train_and_register(PLAN, scene.state, scene.history, tmp_path / "one")
    # From the beginning, into another folder.
    store_features("plain", scene.state, scene.history)
    second = train_and_register(PLAN, scene.state, scene.history, tmp_path / "two")
    assert (second.version, second.model_id) == (first.version, first.model_id)
    assert second.result.metrics == first.result.metrics
    files = [next(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    # Fifteen calls to test on are no evidence.
    assert [(row.version, row.status) for row in scene.state.load_models()] == [(first.version, "failed")]
    # Some of the calls came before anything had learned.
    assert 0 < first.scored_calls == second.scored_calls < 60
    assert scene.ask_history("select count() from ml_scores final") == [(first.scored_calls,)]


def test_other_data_or_another_plan_is_another_version(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    first = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    other = train_and_register(
        ModelPlan(strategy="plain", model_type="logistic", threshold=0.05), scene.state, scene.history, tmp_path
    )
    scene.change_state("update alerts set alert_market_cap = 5000 where id = 3")
    store_features("plain", scene.state, scene.history)
    changed = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    assert len({first.version, other.version, changed.version}) == 3
    assert len(scene.state.load_models()) == 3


def test_a_model_that_beats_its_baselines_is_used_until_another_one_does(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene, ENOUGH_CALLS)
    store_features("plain", scene.state, scene.history)
    first = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    assert (first.status, first.result.beats_baseline) == ("ready", True), first.result.reason
    second = train_and_register(replace(PLAN, seed=8), scene.state, scene.history, tmp_path)
    # Learns from noise: a model that fails leaves the one in use alone.
    noise = train_and_register(replace(PLAN, threshold=0.1), scene.state, Shuffled(scene.history), tmp_path)
    assert statuses(scene) == {first.version: "deprecated", second.version: "ready", noise.version: "failed"}

    assert (first.replaced, second.replaced, noise.replaced) == (None, first.version, None)
    # A version may be named by its first characters, as long as no other begins so.
    assert find_model(scene.state, "take-the-call", first.version[:9]).version == first.version
    with pytest.raises(InputError, match="has no version ''"):
        find_model(scene.state, "take-the-call", "")

    # What was decided by hand stays, also when the same model is trained again.
    assert promote(scene.state, "take-the-call", first.version) == "deprecated"
    again = train_and_register(replace(PLAN, seed=8), scene.state, scene.history, tmp_path)
    assert (again.version, again.status) == (second.version, "deprecated")
    assert deprecate(scene.state, "take-the-call").version == first.version
    assert set(statuses(scene).values()) == {"deprecated", "failed"}
    with pytest.raises(InputError, match="has no version in use"):
        deprecate(scene.state, "take-the-call")
    with pytest.raises(InputError, match="is failed, so it can't be made ready: it does not beat its baselines"):
        promote(scene.state, "take-the-call", noise.version)
    [path] = [path for path in tmp_path.iterdir() if first.version in path.name]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(LearningError, match="is not the one that was registered"):
        promote(scene.state, "take-the-call", first.version)
    assert find_model(scene.state, "take-the-call", first.version).status == "deprecated"


class Shuffled:
    """A history whose features are those of other calls."""

    def __init__(self, history: Any) -> None:
        self._history = history

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def read(self, query: str, **parameters: Any) -> pa.Table:
        table = self._history.read(query, **parameters)
        if query != "features/load_features":
            return table
        values = table["values"].take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
        return table.set_column(table.column_names.index("values"), "values", values)


def statuses(scene: Scene) -> dict[str, str]:
    return {row.version: row.status for row in scene.state.load_models()}


def test_numbers_are_learned_and_ranked_from_what_is_stored(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene, ENOUGH_CALLS)
    store_features("plain", scene.state, scene.history)
    [plan] = model_plans(
        scene.state,
        strategy="plain",
        name="rank",
        model_type="ranking",
        label='{"kind": "pnl", "name": "p", "strategy": "plain"}',
    )
    outcome = train_and_register(replace(plan, group_by="none"), scene.state, scene.history, tmp_path)
    assert outcome.result.metrics["task"] == "ranking"
    [row] = scene.state.load_models("rank")
    assert row.label_definition == {"kind": "pnl", "name": "p", "strategy": "plain"}
    assert scene.ask_history("select count() from ml_scores final") == [(outcome.scored_calls,)]
    card = write_model_card(row, tmp_path / "reports")
    assert card == tmp_path / "reports" / "models" / f"rank-{outcome.version}.html"
    assert "Pairs in the right order" in card.read_text(encoding="utf-8")


def test_plans_by_strategy_are_one_for_each_that_is_stored(scene: Scene) -> None:
    with pytest.raises(InputError, match="no strategy is stored"):
        model_plans(scene.state, by_strategy=True)
    scene.plan(scene.strategy())
    plans = model_plans(scene.state, by_strategy=True, label=Pnl(name="p", strategy="all"), name="m")
    assert [(plan.name, plan.strategy, plan.definition) for plan in plans] == [
        ("m-plain", "plain", Pnl(name="p", strategy="plain"))
    ]
    with pytest.raises(InputError, match="label definition: no JSON"):
        model_plans(scene.state, label="{")


def test_a_strategy_without_runs_is_skipped_by_name_and_the_others_are_trained(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    scene.strategy("asleep")

    def train(plan: ModelPlan) -> str:
        return train_and_register(plan, scene.state, scene.history, tmp_path).status

    with pytest.raises(TooFewCallsError, match=r"'asleep' has no current run.*--strategies asleep.*--strategy plain,"):
        train(replace(PLAN, strategy="asleep", record_strategy="plain"))
    plans = model_plans(scene.state, by_strategy=True, record_strategy="plain", model_type="logistic")
    assert [plan.strategy for plan in plans] == ["asleep", "plain"]
    trained, skipped = train_each(plans, train)
    assert trained == ["failed"]
    assert list(skipped) == ["asleep"]
    assert "has no current run" in skipped["asleep"]
    scene.strategy("dozing")
    with pytest.raises(TooFewCallsError, match=r"none of 2 strategies has enough to learn from:\nasleep: strategy"):
        train_each([plans[0], replace(plans[0], strategy="dozing")], train)


def test_the_strategy_that_leaves_the_fewest_calls_for_the_mean_is_named() -> None:
    def traded(*calls: int) -> pa.Table:
        return pa.table({"call_id": list(calls)})

    # All three traded call 1; without the choosy one, the others share 1 to 4, without another one 1 alone.
    said = too_few_common_calls({"a": traded(1, 2, 3, 4), "choosy": traded(1), "b": traded(1, 2, 3, 4, 5)})
    assert said.startswith("1 calls were traded to the end by each of 3 strategies")
    assert "'choosy' thins them most: it traded 1 itself, and the others have 4 in common" in said


def test_overall_label_is_the_mean_of_what_every_strategy_earned() -> None:
    def labels(*rows: tuple[int, int, float]) -> pa.Table:
        return pa.table(
            {
                "call_id": [row[0] for row in rows],
                "signal_timestamp": [100 * row[0] for row in rows],
                "label": [row[2] for row in rows],
                "label_end": [row[1] for row in rows],
                "pnl": [row[2] for row in rows],
            }
        )

    tables = [labels((1, 150, 0.5), (2, 250, -0.1)), labels((2, 900, 0.3), (3, 350, 0.2))]
    # Call 2 alone was traded by both: (-0.1 + 0.3) / 2 = 0.1, known at 900.
    found = overall_labels(PnlAbove(name="p", strategy="all", threshold=0.05), tables)
    assert found.to_pylist() == [
        {"call_id": 2, "signal_timestamp": 200, "label": 1.0, "label_end": 900, "pnl": pytest.approx(0.1)}
    ]
    assert overall_labels(Pnl(name="p", strategy="all"), tables)["label"].to_pylist() == [pytest.approx(0.1)]


def test_overall_model_learns_the_mean_over_all_strategies(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    [plan] = model_plans(scene.state, strategy="all", record_strategy="plain", model_type="logistic")
    train_and_register(plan, scene.state, scene.history, tmp_path)
    [row] = scene.state.load_models()
    assert row.label_definition["strategies"] == ["plain"]
    assert row.metrics["feature_set"].endswith("/plain")


def test_scores_are_those_of_the_stored_file_for_calls_that_it_had_not_seen(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    features = store_features("plain", scene.state, scene.history)
    outcome = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    [row] = scene.state.load_models()
    assert row.trained_until is not None
    assert int(row.trained_until.timestamp()) == outcome.result.trained_until
    model = load_model(row.storage_uri, row.sha256)
    later = {call.call_id for call in scene.state.load_calls() if call.signal_timestamp > row.trained_until}
    # A quarter is tested; of those before, the labels of the last ones were known too late.
    assert 15 <= len(later) < 30
    features = features.filter(pc.is_in(features["call_id"], pa.array(sorted(later))))
    frame = features.select(list(row.input_features)).to_pandas()
    expected = dict(zip(features["call_id"].to_pylist(), model.predict_proba(frame)[:, 1].tolist(), strict=True))
    scores = scene.history.load_call_scores([row.name], range(1, 61)).to_pylist()
    assert {each["call_id"]: each["score"] for each in scores if each["trained_until"] == row.trained_until} == expected


def test_every_call_is_scored_once_by_what_had_learned_before_it(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    outcome = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    signal = {call.call_id: call.signal_timestamp for call in scene.state.load_calls()}
    scores = scene.history.load_call_scores(["take-the-call"], signal.keys()).to_pylist()
    assert len(scores) == len({each["call_id"] for each in scores}) == outcome.scored_calls
    assert all(each["trained_until"] < signal[each["call_id"]] for each in scores)
    # Each time that something had learned until is that of a fold or of the model, and each of them scored.
    times = [fold.trained_until for fold in outcome.result.folds] + [outcome.result.trained_until]
    assert len(times) > 2
    assert {int(each["trained_until"].timestamp()) for each in scores} == set(times)
    # What was read stands beside the score: which rows, and what was in them.
    [(calls, same)] = scene.ask_history(
        "select count(), countIf(s.inputs_stamp = f.inputs_stamp "
        "and mapApply((k, v) -> (k, toString(v)), s.values) "
        "= mapApply((k, v) -> (k, toString(v)), mapFilter((k, v) -> mapContains(s.values, k), f.values))) "
        "from ml_scores as s final inner join ml_features as f final using (feature_set, call_id)"
    )
    assert calls == same == outcome.scored_calls


def test_a_model_file_that_was_changed_is_refused(scene: Scene, tmp_path: Path) -> None:
    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    train_and_register(PLAN, scene.state, scene.history, tmp_path)
    [row] = scene.state.load_models()
    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(LearningError, match="is not the one that was registered"):
        load_model(row.storage_uri, row.sha256)


@pytest.mark.parametrize(("where", "method"), [("state", "register_model"), ("history", "insert_scores")])
def test_a_kill_before_a_model_is_used_is_healed_by_the_next_attempt(
    scene: Scene, tmp_path: Path, where: str, method: str
) -> None:
    simulate_calls(scene, ENOUGH_CALLS)
    store_features("plain", scene.state, scene.history)
    stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
    stores[where] = Dying(stores[where], method, after=False)
    with pytest.raises(Killed):
        train_and_register(PLAN, stores["state"], stores["history"], tmp_path)
    # What is ready has its scores; without them, nobody may take the model for one to use.
    assert "ready" not in [row.status for row in scene.state.load_models()]
    outcome = train_and_register(PLAN, scene.state, scene.history, tmp_path)
    assert [row.status for row in scene.state.load_models()] == ["ready"]
    assert scene.ask_history("select count() from ml_scores final") == [(outcome.scored_calls,)]


def test_a_model_that_scores_otherwise_once_loaded_is_not_registered(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantbot_pipeline.workflows import train_models

    simulate_calls(scene)
    store_features("plain", scene.state, scene.history)
    score_calls, given = train_models.score_calls, []

    def shifted(model: Any, features: pa.Table) -> pa.Table:
        given.append(model)
        scores = score_calls(model, features)
        shift = pa.array([value + 1e-9 * len(given) for value in scores["score"].to_pylist()])
        return scores.set_column(scores.column_names.index("score"), "score", shift)

    monkeypatch.setattr(train_models, "score_calls", shifted)
    with pytest.raises(LearningError, match="gives other scores"):
        train_and_register(PLAN, scene.state, scene.history, tmp_path)
    assert scene.state.load_models() == []
