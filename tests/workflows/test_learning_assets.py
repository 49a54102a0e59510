"""Learning as Dagster runs it: one model per strategy, scores of new calls, and the check that tells drift."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.workflows.run_simulations import run_simulations
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert, candle_rows

pytestmark = pytest.mark.server

QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}
TRAINED_CALLS, NEW_CALLS = 260, 60


@pytest.fixture
def settings(scene: Scene, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path,
        first_month="2025-01",
        postgres_url=scene.urls.postgres,
        clickhouse_url=scene.urls.clickhouse,
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Learning:
    """Runs jobs on one instance and says what they recorded."""

    def __init__(self, scene: Scene, settings: Settings, instance: dg.DagsterInstance) -> None:
        resources = {"state_store": scene.state, "history_store": scene.history}
        self._definitions = build_definitions(resources=resources, settings=settings)
        self._instance = instance

    def run(self, job: str, **config: dict[str, Any]) -> dg.ExecuteInProcessResult:
        return self._definitions.resolve_job_def(job).execute_in_process(
            run_config={"loggers": QUIET, "ops": {name: {"config": values} for name, values in config.items()}},
            instance=self._instance,
        )


def recorded(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    [event] = [each for each in result.get_asset_materialization_events() if each.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def drift_check(result: dg.ExecuteInProcessResult) -> Any:
    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "calls_have_not_drifted"]
    return check


def test_models_by_strategy_are_trained_score_new_calls_and_tell_drift(
    scene: Scene, settings: Settings, instance: dg.DagsterInstance
) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 11 * (TRAINED_CALLS + NEW_CALLS) + 60))
    scene.call(*(alert(k, MARCH + (30 + 11 * k) * MINUTE) for k in range(TRAINED_CALLS)))
    strategies = scene.strategy("plain"), scene.strategy("wide", exits={"stop_loss": {"initial": 0.4}})
    run_simulations(scene.plan(*strategies), scene.state, scene.history)
    learning = Learning(scene, settings, instance)

    # Before anything is trained there is nothing to score, and no check fails of it.
    early = learning.run("score_job")
    assert recorded(early, "ml_scores") == {"dagster/row_count": 0, "models": 0, "note": "no model is in use"}
    check = drift_check(early)
    assert check.passed

    trained = learning.run(
        "train_job",
        ml_features={"strategy": "plain"},
        ml_models={"by_strategy": True, "strategy": "plain", "record_strategy": "plain", "model_type": "logistic"},
    )
    models = {row.name: row for row in scene.state.load_models()}
    assert set(models) == {"take-the-call-plain", "take-the-call-wide"}
    assert recorded(trained, "ml_models")["models"] == 2
    assert set(recorded(trained, "ml_models")["all"]) == set(models)
    in_use = [row for row in models.values() if row.status == "ready"]
    assert in_use
    assert {path.name for path in (settings.reports_directory / "models").iterdir()} == {
        f"{row.name}-{row.version}.html" for row in models.values()
    }
    scores = recorded(trained, "ml_scores")
    assert (scores["models"], scores["scored"], scores["without_features"]) == (len(in_use), 0, 0)
    check = drift_check(trained)
    # Nothing came since.
    assert check.passed
    assert check.metadata[f"{in_use[0].name}: verdict"].value == "too few calls"

    numbers = range(TRAINED_CALLS, TRAINED_CALLS + NEW_CALLS)
    scene.call(*(alert(k, MARCH + (30 + 11 * k) * MINUTE, alert_market_cap=1e6 + k) for k in numbers))
    later = learning.run("score_job")
    assert recorded(later, "ml_scores")["scored"] == NEW_CALLS * len(in_use)
    check = drift_check(later)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "differ from those that it learned from" in (check.description or "")
    assert "data:image/svg+xml" in str(check.metadata[f"{in_use[0].name}: picture"].value)
    card = settings.reports_directory / "models" / f"{in_use[0].name}-{in_use[0].version}.html"
    assert "log_market_cap</code>" in card.read_text(encoding="utf-8").split('id="drift"')[1]
    assert recorded(learning.run("score_job"), "ml_scores")["scored"] == 0


def test_scores_are_due_after_calls_and_models_and_not_while_nothing_changed(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    definitions = build_definitions(settings=settings)
    cursor: Any = None

    def is_due() -> bool:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(
            definitions, instance, asset_selection=dg.AssetSelection.assets("ml_scores"), cursor=cursor
        )
        cursor = result.cursor
        return result.get_num_requested(dg.AssetKey("ml_scores")) > 0

    assert not is_due()
    for asset, partition in (("calls", "2025-03-01"), ("ml_models", None)):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition))
        assert is_due(), asset
        assert not is_due()
