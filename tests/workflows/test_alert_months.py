"""Alerts and calls by month, as Dagster records them: a digest says which months changed."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.alert_assets import alert_materializations, changed_months
from quantbot_pipeline.settings import Settings, load_settings
from tests.workflows.scene import MARCH, MINUTE, Scene, alert

pytestmark = pytest.mark.server

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
APRIL = MARCH.replace(month=4)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, first_month="2025-01")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _record(scene: Scene, instance: dg.DagsterInstance, settings: Settings) -> list[tuple[str, str | None]]:
    found = list(alert_materializations(instance, scene.state, settings))
    for materialization in found:
        instance.report_runless_asset_event(materialization)
    return sorted((one.asset_key.to_user_string(), one.partition or "") for one in found)


def test_the_months_that_changed_are_recorded_and_no_others(
    scene: Scene, instance: dg.DagsterInstance, settings: Settings
) -> None:
    scene.call(alert(1, MARCH), alert(2, APRIL))
    assert _record(scene, instance, settings) == [
        ("alerts", "2025-03-01"),
        ("alerts", "2025-04-01"),
        ("callers", ""),
        ("calls", "2025-03-01"),
        ("calls", "2025-04-01"),
        ("tokens", ""),
    ]
    # Nothing new: no month, also where a run that died recorded nothing and is repeated.
    assert _record(scene, instance, settings) == [("callers", ""), ("tokens", "")]
    scene.call(alert(3, APRIL + MINUTE))
    assert _record(scene, instance, settings) == [
        ("alerts", "2025-04-01"),
        ("callers", ""),
        ("calls", "2025-04-01"),
        ("tokens", ""),
    ]


def test_a_call_that_is_in_force_no_more_changes_its_month(
    scene: Scene, instance: dg.DagsterInstance, settings: Settings
) -> None:
    scene.call(alert(1, MARCH), alert(2, APRIL))
    _record(scene, instance, settings)
    change = "update calls set is_active = false, inactive_reason = 'cool_down' where signal_timestamp >= %s"
    scene.change_state(change, APRIL)
    [found] = changed_months(instance, "calls", scene.state, settings)
    assert found.partition == "2025-04-01"
    assert found.metadata["dagster/row_count"].value == 0
    assert found.metadata["inactive_count"].value == 1


def test_an_alert_that_is_filled_in_changes_its_month(
    scene: Scene, instance: dg.DagsterInstance, settings: Settings
) -> None:
    scene.call(alert(1, MARCH, alert_price=None), alert(2, APRIL))
    _record(scene, instance, settings)
    scene.change_state("update alerts set alert_price = 2 where alert_timestamp < %s", APRIL)
    assert [one.partition for one in changed_months(instance, "alerts", scene.state, settings)] == ["2025-03-01"]
    # Simulations do not read an alert's price.
    assert changed_months(instance, "calls", scene.state, settings) == []


def test_months_without_a_partition_are_left_out(
    scene: Scene, instance: dg.DagsterInstance, settings: Settings
) -> None:
    scene.call(alert(1, MARCH.replace(year=2024)), alert(2, MARCH))
    assert [one.partition for one in changed_months(instance, "alerts", scene.state, settings)] == ["2025-03-01"]


def test_a_run_of_one_month_in_the_ui_records_all_that_it_changed_once(
    scene: Scene, instance: dg.DagsterInstance, settings: Settings
) -> None:
    scene.call(alert(1, MARCH), alert(2, APRIL))
    definitions = build_definitions(
        resources={"state_store": scene.state, "history_store": scene.history}, settings=settings
    )
    tags = {"dagster/asset_partition_range_start": "2025-03-01", "dagster/asset_partition_range_end": "2025-03-01"}
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        run_config=QUIET,
        instance=instance,
        asset_selection=[dg.AssetKey(name) for name in ("alerts", "tokens", "callers", "calls")],
        tags=tags,
    )
    assert result.success
    for asset in ("alerts", "calls"):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {"2025-03-01", "2025-04-01"}
        assert changed_months(instance, asset, scene.state, settings) == []
    assert instance.get_latest_materialization_event(dg.AssetKey("tokens")) is not None
