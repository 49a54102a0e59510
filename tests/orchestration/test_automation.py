"""Which token-months are due by themselves after what changed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs import simulation_assets
from quantbot_pipeline.defs.partitions import register_tokens, token_month_key
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.workflows.token_months import TokenMonth

RUNS = dg.AssetKey("simulation_runs")
ALL = {
    dg.AssetKey(name)
    for name in ("simulation_runs", "simulation_events", "simulation_aggregates", "simulation_results_summary")
}
A, B = TokenKey("binance", "A_USDT"), TokenKey("binance", "B_USDT")
MONTHS = ("2025-01", "2025-02", "2025-03", "2025-04", "2025-05")
EVERYTHING = {str(token_month_key(TokenMonth(token, month))) for token in (A, B) for month in MONTHS}


class Graph:
    """The graph on an instance of its own, evaluated in May 2025 as the daemon does it every minute."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.definitions = build_definitions(settings=settings)
        self.instance = instance
        self.cursor: Any = None

    def due(self) -> set[str]:
        """Return the partitions that one evaluation asks for, of all four assets alike."""
        result = dg.evaluate_automation_conditions(
            self.definitions,
            self.instance,
            asset_selection=dg.AssetSelection.assets(*ALL),
            evaluation_time=datetime(2025, 5, 20, tzinfo=UTC),
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        # One step writes all four, and one condition asks for all: that of the runs.
        return {str(key) for key in result.get_requested_partitions(RUNS)}

    def store(self, asset: str, partition: str | None = None, version: str | None = None) -> None:
        tags = {"dagster/data_version": version} if version else {}
        self.instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=partition, tags=tags))

    def candles(self, token: TokenKey, month: str) -> None:
        self.store("ohlcv_candles", str(token_month_key(TokenMonth(token, month))))


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(home=tmp_path_factory.mktemp("home"), first_month="2025-01")


@pytest.fixture
def graph(settings: Settings) -> Iterator[Graph]:
    """The graph after its first evaluation, with everything stored and simulated."""
    with dg.DagsterInstance.ephemeral() as instance:
        register_tokens(instance, [TokenMonth(A, "2025-01"), TokenMonth(B, "2025-01")])
        made = Graph(settings, instance)
        made.store("strategies", version="one")
        for token in (A, B):
            for month in MONTHS:
                made.candles(token, month)
        # The first look finds the past, which is for the nightly schedule.
        assert made.due() == set()
        assert made.due() == set()
        yield made


def _keys(token: TokenKey, *months: str) -> set[str]:
    return {str(token_month_key(TokenMonth(token, month))) for month in months}


def test_new_candles_make_their_month_and_those_beside_it_due_once(graph: Graph) -> None:
    graph.candles(A, "2025-03")
    assert graph.due() == _keys(A, "2025-02", "2025-03", "2025-04")
    # Asked for once: the next look asks for nothing, whether the runs have begun or not.
    assert graph.due() == set()


def test_months_long_past_are_due_as_well_as_the_latest(graph: Graph) -> None:
    """`on_missing` and `eager` look at the latest month alone."""
    graph.candles(B, "2025-01")
    assert graph.due() == _keys(B, "2025-01", "2025-02")


def test_all_months_of_a_new_token_are_due(graph: Graph) -> None:
    new = TokenKey("binance", "NEW_USDT")
    register_tokens(graph.instance, [TokenMonth(new, "2025-01")])
    for month in ("2025-01", "2025-02"):
        graph.candles(new, month)
    assert graph.due() == _keys(new, "2025-01", "2025-02", "2025-03")


def test_new_calls_make_their_month_due_for_every_token(graph: Graph) -> None:
    graph.store("calls", "2025-02-01", "changed")
    assert graph.due() == _keys(A, "2025-02") | _keys(B, "2025-02")


def test_strategies_that_were_stored_again_make_nothing_due_and_a_changed_one_all(graph: Graph) -> None:
    graph.store("strategies", version="one")
    assert graph.due() == set()
    graph.store("strategies", version="two")
    assert graph.due() == EVERYTHING
    assert graph.due() == set()


def test_a_new_engine_version_makes_all_due(graph: Graph, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation_assets, "ENGINE_VERSION", "another")
    graph.definitions = build_definitions(settings=settings)
    assert graph.due() == EVERYTHING
    assert graph.due() == set()


def test_candles_that_come_while_a_run_is_under_way_are_due_after_it(graph: Graph) -> None:
    """A run that began before the change did not see it, also where it ends after it."""
    key = next(iter(_keys(A, "2025-01")))
    job = graph.definitions.resolve_job_def("simulate_job")
    run = graph.instance.create_run_for_job(job, tags={"dagster/partition": key}, status=dg.DagsterRunStatus.STARTED)
    graph.candles(A, "2025-01")
    assert graph.due() == _keys(A, "2025-02")
    for asset in ALL:
        graph.store(asset.to_user_string(), key)
    graph.instance.report_run_canceled(run)
    assert graph.due() == {key}
    assert graph.due() == set()
