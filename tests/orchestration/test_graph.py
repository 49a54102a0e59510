"""The asset graph: keys, dependencies, partitions, and that Dagster accepts it."""

import json
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.rule_checks import RULE_CHECKS
from quantbot_pipeline.defs.view_assets import AGREEMENT_CHECK, TABLES_WITHOUT_ASSET, tables_of_unknown_assets
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.views import load_views
from quantbot_pipeline.storage.views.rendering import DATABASES

SNAPSHOT = Path(__file__).with_name("graph_snapshot.json")

TABLE_ASSETS = {
    "tokens",
    "callers",
    "alerts",
    "calls",
    "strategies",
    "ohlcv_candles",
    "simulation_runs",
    "simulation_events",
    "simulation_aggregates",
    "simulation_results_summary",
    "optimization_jobs",
    "optimization_trials",
    "ml_features",
    "ml_models",
    "ml_scores",
    "report",
}
PARTITIONED = {
    "ohlcv_candles",
    "simulation_runs",
    "simulation_events",
    "simulation_aggregates",
    "simulation_results_summary",
}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(settings=load_settings(home=tmp_path_factory.mktemp("home"), first_month="2025-01"))


@pytest.fixture(scope="module")
def graph(definitions: dg.Definitions) -> dict[str, list[str]]:
    assets = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): sorted(parent.to_user_string() for parent in assets.get(key).parent_keys)
        for key in sorted(assets.get_all_asset_keys())
    }


def test_keys_and_dependencies_are_those_of_the_snapshot(graph: dict[str, list[str]]) -> None:
    """A changed graph is a change that people see: renew the snapshot on purpose, with `python -m json.tool`."""
    assert graph == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_every_table_has_its_asset(graph: dict[str, list[str]]) -> None:
    assert set(graph) >= TABLE_ASSETS


def test_every_database_has_three_marts(graph: dict[str, list[str]]) -> None:
    for database in ("postgres", "clickhouse"):
        assert len([key for key in graph if key.startswith(f"{database}/mart_")]) >= 3


def test_candles_and_simulations_are_partitioned_by_token_and_month(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    for key in assets.get_all_asset_keys():
        partitions = assets.get(key).partitions_def
        if key.to_user_string() in {"alerts", "calls"}:
            assert isinstance(partitions, dg.MonthlyPartitionsDefinition)
            assert assets.get(key).backfill_policy == dg.BackfillPolicy.single_run()
        elif key.to_user_string() in PARTITIONED:
            assert isinstance(partitions, dg.MultiPartitionsDefinition)
            assert set(partitions.partition_dimension_names) == {"month", "token"}
            assert assets.get(key).backfill_policy == dg.BackfillPolicy.single_run()
        else:
            assert partitions is None, key


def test_every_asset_says_what_it_holds_and_where(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    for key in assets.get_all_asset_keys():
        node = assets.get(key)
        assert node.description, key
        assert node.group_name != "default", key
        assert node.kinds, key
        assert node.owners, key


def test_definitions_are_valid(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_sensor_schedule_and_checks_exist(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert [sensor.name for sensor in repository.sensor_defs] == [
        "alert_inbox_sensor",
        "candle_inbox_sensor",
        "due_simulations_sensor",
        "new_imports_sensor",
        "run_failure_sensor",
    ]
    assert [schedule.name for schedule in repository.schedule_defs] == [
        "daily_candles",
        "nightly_report",
        "nightly_scores",
        "nightly_simulations",
        "weekly_search",
        "weekly_training",
    ]
    checks = definitions.resolve_asset_graph().asset_check_keys
    assert {check.name for check in checks if not _is_of_a_view(check)} == {
        "alert_counts_add_up",
        "every_alert_has_its_call",
        "candles_cover_calls",
        "candle_quality",
        "calls_have_not_drifted",
        *RULE_CHECKS,
        AGREEMENT_CHECK,
    }


def _is_of_a_view(check: dg.AssetCheckKey) -> bool:
    return check.asset_key.path[0] in ("postgres", "clickhouse") and check.name != AGREEMENT_CHECK


def test_views_of_both_databases_are_compared_every_night(definitions: dg.Definitions) -> None:
    nightly = definitions.resolve_job_def("refresh_report_job").asset_layer.asset_graph.asset_check_keys

    assert {tuple(key.asset_key.path) for key in nightly if key.name == AGREEMENT_CHECK} == {
        ("postgres", "mart_runs_ranked"),
        ("postgres", "mart_strategy_leaderboard"),
        ("postgres", "mart_token_results"),
    }


def test_of_every_table_that_a_view_reads_it_is_said_which_asset_writes_it(graph: dict[str, list[str]]) -> None:
    views = [view for database in DATABASES for view in load_views(database)]

    assert tables_of_unknown_assets(views) == []
    assert not TABLES_WITHOUT_ASSET & graph.keys(), "an asset writes it now: take it out"
    for view in views:
        for name in set(view.sources) & graph.keys():
            assert name in graph[f"{view.database}/{view.name}"], view.name


def test_every_test_of_a_view_is_a_check_of_its_asset(definitions: dg.Definitions) -> None:
    checks = [check for check in definitions.resolve_asset_graph().asset_check_keys if _is_of_a_view(check)]
    counts = {
        (database, view.name): len(view.tests) for database in DATABASES for view in load_views(database) if view.tests
    }

    assert Counter(tuple(check.asset_key.path) for check in checks) == counts
    nightly = definitions.resolve_job_def("refresh_report_job").asset_layer.asset_graph.asset_check_keys
    assert set(checks) <= set(nightly)


def test_a_bad_inbox_file_can_not_turn_the_checks_of_good_data_red(definitions: dg.Definitions) -> None:
    """One unreadable file failed its run, and with it the checks of alerts and calls; they run nightly instead."""
    assert not definitions.resolve_job_def("ingest_alerts_job").asset_layer.asset_graph.asset_check_keys
    nightly = definitions.resolve_job_def("refresh_report_job").asset_layer.asset_graph.asset_check_keys
    assert {key.name for key in nightly if not _is_of_a_view(key)} == {
        AGREEMENT_CHECK,
        "alert_counts_add_up",
        "every_alert_has_its_call",
        "candles_cover_calls",
        *RULE_CHECKS,
    }


def test_runs_of_sensors_count_nothing_again(definitions: dg.Definitions) -> None:
    """Each check looks at all that is stored: once a night is enough."""
    assert not definitions.resolve_job_def("simulate_job").asset_layer.asset_graph.asset_check_keys


def test_what_comes_by_itself_says_when_it_has_stopped_coming(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    with_policy = {
        key.to_user_string() for key in assets.get_all_asset_keys() if assets.get(key).freshness_policy is not None
    }
    # The others change when a person changes them; views show what is there.
    assert with_policy == TABLE_ASSETS - {"strategies", "tokens", "callers"}
