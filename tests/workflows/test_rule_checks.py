"""Rules that are counted again every night, and what they keep from running where they do not hold."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.rule_checks import RULE_CHECKS
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.verify import find_rules
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert, candle_rows

pytestmark = pytest.mark.server

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def settings(scene: Scene, tmp_path: Path) -> Settings:
    return load_settings(
        home=tmp_path,
        first_month="2025-01",
        postgres_url=scene.urls.postgres,
        clickhouse_url=scene.urls.clickhouse,
    )


@pytest.fixture
def simulated(scene: Scene) -> Scene:
    """Two runs of one call."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 200))
    scene.call(alert(1, MARCH + 30 * MINUTE))
    run_simulations(scene.plan(scene.strategy("one"), scene.strategy("two", exits={})), scene.state, scene.history)
    return scene


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _night(scene: Scene, settings: Settings, instance: dg.DagsterInstance) -> tuple[dict[str, bool], set[str]]:
    """Run the nightly job; return what each rule's check found, and which steps of views and report ran."""
    resources = {"state_store": scene.state, "history_store": scene.history}
    job = build_definitions(resources=resources, settings=settings).resolve_job_def("refresh_report_job")
    result = job.execute_in_process(run_config=QUIET, instance=instance, raise_on_error=False)
    found = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    steps = {event.step_key for event in result.all_events if event.is_step_success and event.step_key}
    return {name: found[name] for name in RULE_CHECKS}, steps & {"build_views", "report"}


def test_where_every_rule_holds_views_and_report_are_made(
    simulated: Scene, settings: Settings, instance: dg.DagsterInstance
) -> None:
    found, steps = _night(simulated, settings, instance)
    # The candles of this scene came from no import.
    assert {name for name, passed in found.items() if not passed} == {"candle_rows_add_up"}
    assert steps == {"build_views", "report"}


@pytest.mark.parametrize(
    ("tampering", "broken"),
    [
        ("update simulation_results_summary set final_pnl = final_pnl + 0.5 where simulation_run_id = 1", "summaries"),
        ("delete from simulation_results_summary where simulation_run_id = 1", "completed-runs"),
    ],
)
def test_where_a_blocking_rule_does_not_hold_yesterdays_views_and_report_stay(
    simulated: Scene, settings: Settings, instance: dg.DagsterInstance, tampering: str, broken: str
) -> None:
    simulated.change_state(tampering)
    found, steps = _night(simulated, settings, instance)
    assert broken in {RULE_CHECKS[name].rule for name, passed in found.items() if not passed}
    assert steps == set()


def test_every_check_is_of_a_rule_and_says_what_to_do() -> None:
    for name, check in RULE_CHECKS.items():
        (rule,) = find_rules([check.rule])
        assert rule.statement, name
