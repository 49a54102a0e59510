"""What runs by the clock: it asks once, for what is due, and says why where there is nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.partitions import register_tokens, token_month_key
from quantbot_pipeline.defs.schedules import daily_candles, nightly_simulations, weekly_search, weekly_training
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage.clickhouse import SCORE_SCHEMA
from quantbot_pipeline.storage.records import NewModel
from quantbot_pipeline.workflows.token_months import TokenMonth, month_of
from tests.unit.sources.source_server import FakeGeckoTerminal, SourceServer, gecko_rows, pool, serving
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert, candle_rows
from tests.workflows.test_fetch_candles import OTHER, POOL, STEP, TOKEN

pytestmark = pytest.mark.server

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NIGHT = datetime(2025, 6, 1, 1, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    # In files: a schedule opens its instance by reference, which one in memory does not have.
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, first_month="2025-01", candle_source=None)


def _run(scene: Scene, settings: Settings, instance: dg.DagsterInstance, job: str, **tags: str) -> Any:
    resources = {"state_store": scene.state, "history_store": scene.history}
    definitions = build_definitions(resources=resources, settings=settings)
    return definitions.resolve_job_def(job).execute_in_process(
        run_config=QUIET, instance=instance, tags=tags, raise_on_error=False
    )


class Night:
    """Ticks the nightly schedule and runs what it asks for."""

    def __init__(self, scene: Scene, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.scene = scene
        self.settings = settings
        self.instance = instance

    def tick(self, at: datetime = NIGHT) -> list[dg.RunRequest]:
        context = dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=at,
            resources={
                "settings": self.settings,
                "state_store": self.scene.state,
                "history_store": self.scene.history,
            },
        )
        data = nightly_simulations.evaluate_tick(context)
        if not data.run_requests:
            assert "are up to date" in str(data.skip_message)
        return list(data.run_requests or [])

    def run(self, request: dg.RunRequest) -> None:
        tags = {key: value for key, value in request.tags.items() if "partition" in key}
        assert _run(self.scene, self.settings, self.instance, "simulate_job", **tags).success

    def store_candles(self, count: int) -> None:
        self.scene.history.insert_candles(candle_rows(BONK, MARCH, count))
        key = TokenMonth(BONK, "2025-03")
        register_tokens(self.instance, [key])
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization("ohlcv_candles", partition=token_month_key(key))
        )


@pytest.fixture
def night(scene: Scene, settings: Settings, instance: dg.DagsterInstance) -> Night:
    scene.strategy()
    scene.call(alert(1, MARCH + 30 * MINUTE))
    return Night(scene, settings, instance)


def test_a_night_asks_for_what_is_due_and_the_next_for_nothing(night: Night) -> None:
    assert night.tick() == []
    night.store_candles(200)
    [request] = night.tick()
    # The tick died before it was recorded and is repeated: the same key, so one run.
    assert [again.run_key for again in night.tick()] == [request.run_key]
    night.run(request)
    assert night.scene.ask_state("select status from simulation_runs") == [("completed",)]
    assert night.tick(NIGHT + timedelta(days=1)) == []


def test_a_new_score_of_a_call_is_due_the_next_night_and_no_other_change_of_scores(night: Night) -> None:
    night.scene.strategy(
        "picky", entry={"type": "signal", "when": {"score": "take", "op": ">", "right": 0.6}, "max_wait_seconds": 120}
    )
    model_id = night.scene.state.register_model(
        NewModel("take", "1", "logistic", ("hour_sin",), {}, "file:///take", "0" * 64, {}, "ready", MARCH)
    )

    def score(value: float, trained_until: datetime) -> None:
        row = {
            "model_id": model_id,
            "model_name": "take",
            "call_id": 1,
            "trained_until": int(trained_until.timestamp()),
            "score": value,
            "feature_set": "",
            "inputs_stamp": "",
            "values": [],
        }
        night.scene.history.insert_scores(pa.Table.from_pylist([row], schema=SCORE_SCHEMA))

    night.store_candles(200)
    [request] = night.tick()
    night.run(request)
    assert night.tick(NIGHT + timedelta(days=1)) == []
    # By a model that had seen the call: no simulation reads it.
    score(0.9, MARCH + timedelta(days=1))
    assert night.tick(NIGHT + timedelta(days=1)) == []
    score(0.9, MARCH)
    [request] = night.tick(NIGHT + timedelta(days=1))
    night.run(request)
    assert night.tick(NIGHT + timedelta(days=2)) == []
    bought = "select count() from simulation_events where event_type = 'entry'"
    # Both strategies bought; the one that asks, after it had a score to ask for.
    assert night.scene.ask_history(bought) == [(2,)]
    # A strategy whose model never was ready keeps no other from being looked at.
    night.scene.strategy("blind", entry={"type": "signal", "when": {"score": "nobody", "op": ">", "right": 0.6}})
    score(0.1, MARCH + timedelta(seconds=1))
    assert len(night.tick(NIGHT + timedelta(days=2))) == 1


def test_a_run_that_failed_is_asked_for_again_the_next_night(night: Night) -> None:
    night.store_candles(200)
    [request] = night.tick()
    [again] = night.tick(NIGHT + timedelta(days=1))
    assert again.tags == request.tags
    assert again.run_key != request.run_key


def test_new_candles_another_strategy_and_another_engine_are_due_the_next_night(night: Night) -> None:
    def is_due_and_done() -> bool:
        requests = night.tick(NIGHT + timedelta(days=1))
        for request in requests:
            night.run(request)
        assert night.tick(NIGHT + timedelta(days=2)) == []
        return bool(requests)

    night.store_candles(100)
    assert is_due_and_done()
    night.store_candles(200)
    assert is_due_and_done()
    # The same strategy stored again is no change; a new version of it is.
    night.scene.strategy()
    assert not is_due_and_done()
    night.scene.strategy(version="2", horizon_seconds=600)
    assert is_due_and_done()
    night.scene.change_state("update simulation_runs set engine_version = 'older'")
    assert len(night.tick(NIGHT + timedelta(days=3))) == 1


def test_daily_candles_without_a_source_say_what_to_set(settings: Settings, instance: dg.DagsterInstance) -> None:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NIGHT, resources={"settings": settings}
    )
    data = daily_candles.evaluate_tick(context)
    assert not data.run_requests
    assert "QUANTBOT_CANDLE_SOURCE" in str(data.skip_message)


def test_daily_candles_ask_for_one_run_a_day(settings: Settings, instance: dg.DagsterInstance) -> None:
    with_source = settings.model_copy(update={"candle_source": "geckoterminal"})
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=NIGHT, resources={"settings": with_source}
    )
    keys = [request.run_key for _ in range(2) for request in daily_candles.evaluate_tick(context).run_requests or []]
    assert keys == ["2025-06-01", "2025-06-01"]


def test_weekly_schedules_ask_for_one_run(instance: dg.DagsterInstance) -> None:
    for schedule in (weekly_search, weekly_training):
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NIGHT)
        assert len(schedule.evaluate_tick(context).run_requests or []) == 1
        assert schedule.cron_schedule.endswith("* * 0")


# --- the job of the daily candles ---


@pytest.fixture
def api() -> FakeGeckoTerminal:
    """Candles of the last three days."""
    start = int((datetime.now(UTC) - timedelta(days=3)).timestamp()) // STEP * STEP
    return FakeGeckoTerminal(
        pools={TOKEN.address: [pool(POOL, TOKEN.address)]}, candles={POOL: gecko_rows(start, 3 * 288)}
    )


@pytest.fixture
def server(api: FakeGeckoTerminal) -> Iterator[SourceServer]:
    with serving(api) as running:
        yield running


@pytest.fixture
def with_source(settings: Settings, server: SourceServer, scene: Scene) -> Settings:
    return load_settings(
        home=settings.home,
        first_month="2025-01",
        candle_source="geckoterminal",
        geckoterminal_url=server.url,
        postgres_url=scene.urls.postgres,
        clickhouse_url=scene.urls.clickhouse,
    )


def test_missing_candles_are_fetched_and_recorded_and_asked_for_once(
    scene: Scene, with_source: Settings, server: SourceServer, instance: dg.DagsterInstance
) -> None:
    called_at = datetime.now(UTC) - timedelta(days=2)
    scene.call(alert(1, called_at, token=TOKEN))
    assert _run(scene, with_source, instance, "fetch_candles_job").success
    stored = scene.history.load_candle_rows(TOKEN.chain, TOKEN.address, "5m", 0, 2**32 - 1).num_rows
    assert stored > 288
    recorded = instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles"))
    assert str(token_month_key(TokenMonth(TOKEN, month_of(called_at)))) in recorded
    asked = len(server.requests)
    assert _run(scene, with_source, instance, "fetch_candles_job").success
    assert len(server.requests) == asked


def test_a_token_that_fails_costs_itself_and_the_run_says_which(
    scene: Scene, with_source: Settings, instance: dg.DagsterInstance
) -> None:
    called_at = datetime.now(UTC) - timedelta(days=2)
    scene.call(alert(1, called_at, token=TOKEN), alert(2, called_at, token=OTHER))
    result = _run(scene, with_source, instance, "fetch_candles_job")
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    described = event.step_failure_data.user_failure_data.description
    assert "1 of 2 tokens failed, the others are stored" in described
    assert OTHER.address in described
    assert instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles"))


def test_the_job_without_a_source_says_what_to_set(
    scene: Scene, settings: Settings, instance: dg.DagsterInstance
) -> None:
    result = _run(scene, settings, instance, "fetch_candles_job")
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "QUANTBOT_CANDLE_SOURCE" in event.step_failure_data.user_failure_data.description
