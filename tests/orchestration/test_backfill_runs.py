"""Backfills as Dagster records them: one run, a materialisation per token-month and asset, failed ones failed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from dagster_postgres import PostgresEventLogStorage
from psycopg import sql

from quantbot_pipeline.defs.backfills import MaterializationRecorder, backfill_job, backfill_run
from quantbot_pipeline.defs.due_partitions import find_due, load_recorded
from quantbot_pipeline.defs.partitions import token_month_key, token_month_partitions, token_partitions
from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.workflows.backfill import BackfillCounts, MonthOutcome
from quantbot_pipeline.workflows.backfill_records import SelectedBackfill
from quantbot_pipeline.workflows.backfill_selection import Selection
from quantbot_pipeline.workflows.token_months import TokenMonth

KEYS = tuple(
    TokenMonth(TokenKey("binance", address), month)
    for address in ("BONK_USDT", "PEPE_USDT")
    for month in ("2025-03", "2025-04")
)
SELECTED = SelectedBackfill(Selection(), KEYS, ())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def outcome(key: TokenMonth, *failures: str, pnl: float | None = 0.25) -> MonthOutcome:
    return MonthOutcome(key, 3, 2, failures, 40, 7, pnl)


def record(instance: dg.DagsterInstance, outcomes: list[MonthOutcome]) -> dg.DagsterRun:
    with backfill_run(instance, SELECTED) as (recorder, finish):
        recorder.prepare(SELECTED)
        recorder.record(outcomes)
        counts = BackfillCounts(total=len(KEYS))
        counts.add(outcomes)
        finish(counts)
    run = instance.get_run_by_id(recorder.run_id)
    assert run is not None
    return run


def materialized(instance: dg.DagsterInstance, name: str) -> dict[str, dict[str, object]]:
    """Return the metadata of the last materialisation of each partition."""
    found: dict[str, dict[str, object]] = {}
    for event in instance.fetch_materializations(dg.AssetKey(name), limit=100, ascending=True).records:
        materialization = event.asset_materialization
        assert materialization is not None
        assert materialization.partition is not None
        found[materialization.partition] = {key: value.value for key, value in materialization.metadata.items()}
    return found


def test_a_backfill_is_one_run_with_each_partition_and_its_own_metadata(instance: dg.DagsterInstance) -> None:
    outcomes = [outcome(key, pnl=position / 4) for position, key in enumerate(KEYS[:3])]
    run = record(instance, outcomes)
    assert (run.status, run.job_name) == (dg.DagsterRunStatus.SUCCESS, "backfill_job")
    for name in SIMULATION_ASSETS:
        found = materialized(instance, name)
        # Exactly those that were worked on: PEPE's April, within the box of the others, is none of them.
        assert set(found) == {str(token_month_key(key)) for key in KEYS[:3]}
        assert [found[str(token_month_key(key))]["mean_final_pnl"] for key in KEYS[:3]] == [0.0, 0.25, 0.5]
        assert found[str(token_month_key(KEYS[0]))] == {
            "runs_computed": 3,
            "runs_reused": 2,
            "new_events": 40,
            "trades": 7,
            "mean_final_pnl": 0.0,
        }
    assert instance.get_dynamic_partitions(str(token_partitions.name)) == ["binance:BONK_USDT", "binance:PEPE_USDT"]
    record_of_run = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))[0]
    assert record_of_run.start_time is not None
    assert record_of_run.end_time is not None


def test_a_failed_token_month_is_failed_and_its_neighbours_are_not(instance: dg.DagsterInstance) -> None:
    from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

    run = record(instance, [outcome(KEYS[0]), outcome(KEYS[1], "first: no room"), outcome(KEYS[2])])
    assert run.status is dg.DagsterRunStatus.FAILURE
    failure = next(
        event for event in instance.all_logs(run.run_id) if event.dagster_event_type is dg.DagsterEventType.RUN_FAILURE
    )
    assert "binance:BONK_USDT 2025-04: first: no room" in str(failure.dagster_event and failure.dagster_event.message)
    partitions = token_month_partitions(load_settings(first_month="2025-01"))
    for name in SIMULATION_ASSETS:
        status = get_and_update_asset_status_cache_value(instance, dg.AssetKey(name), partitions)
        assert status is not None
        assert status.deserialize_failed_partition_subsets(partitions).get_partition_keys() == {  # type: ignore[union-attr]
            str(token_month_key(KEYS[1]))
        }
        assert set(materialized(instance, name)) == {str(token_month_key(key)) for key in (KEYS[0], KEYS[2])}

    # The next backfill mends it.
    assert record(instance, [outcome(KEYS[1])]).status is dg.DagsterRunStatus.SUCCESS
    status = get_and_update_asset_status_cache_value(instance, dg.AssetKey("simulation_runs"), partitions)
    assert status is not None
    assert not list(status.deserialize_failed_partition_subsets(partitions).get_partition_keys())  # type: ignore[union-attr]


def test_what_is_up_to_date_and_recorded_is_not_recorded_again(instance: dg.DagsterInstance) -> None:
    def count() -> list[int]:
        return [
            len(instance.fetch_materializations(dg.AssetKey(name), limit=100).records) for name in SIMULATION_ASSETS
        ]

    before = datetime.now(UTC)
    record(instance, [outcome(KEYS[0]), outcome(KEYS[1], "first: no room")])
    untouched = [replace(outcome(key), is_untouched=True, settled_at=before) for key in KEYS[:3]]
    record(instance, untouched)
    # The second is shown as failed, the third was never recorded: who made its runs was killed.
    assert count() == [3, 3, 3, 3]
    assert set(materialized(instance, "simulation_runs")) == {str(token_month_key(key)) for key in KEYS[:3]}
    record(instance, untouched)
    assert count() == [3, 3, 3, 3]
    # Its runs are newer than what is recorded.
    record(instance, [replace(untouched[0], settled_at=datetime.now(UTC))])
    assert count() == [4, 4, 4, 4]
    # Other candles came, and gave the same runs.
    april = str(token_month_key(KEYS[1]))
    instance.report_runless_asset_event(dg.AssetMaterialization("ohlcv_candles", partition=april))
    for _ in range(2):
        record(instance, untouched)
        # March and April of BONK read them, PEPE's March does not.
        assert count() == [6, 6, 6, 6]


def test_candles_that_came_while_a_run_worked_were_not_seen_by_it(instance: dg.DagsterInstance) -> None:
    [key, *_] = KEYS
    with backfill_run(instance, SELECTED) as (recorder, finish):
        instance.report_runless_asset_event(dg.AssetMaterialization("ohlcv_candles", partition=token_month_key(key)))
        recorder.record([outcome(key)])
        finish(BackfillCounts(total=1))
    assert find_due([key], load_recorded(instance), ()) == {key: "new candles"}
    record(instance, [outcome(key)])
    assert find_due([key], load_recorded(instance), ()) == {}


def test_a_stopped_backfill_is_a_cancelled_run_and_an_error_a_failed_one(instance: dg.DagsterInstance) -> None:
    for error, status in ((KeyboardInterrupt, "CANCELED"), (ZeroDivisionError, "FAILURE")):
        with pytest.raises(error), backfill_run(instance, SELECTED):
            raise error
        assert instance.get_runs(limit=1)[0].status.value == status


def test_a_run_whose_process_died_is_ended_by_the_next_backfill(instance: dg.DagsterInstance) -> None:
    manager = backfill_run(instance, SELECTED)
    recorder, _ = manager.__enter__()
    dead = instance.get_run_by_id(recorder.run_id)
    assert dead is not None
    # A process number beyond those that Linux gives.
    instance.add_run_tags(dead.run_id, {"quantbot/process": "4194399:1700000000.00"})
    record(instance, [outcome(KEYS[0])])
    ended = instance.get_run_by_id(dead.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE


@pytest.fixture
def event_log(postgres_url: str) -> Iterator[PostgresEventLogStorage]:
    """Dagster's event log in a database of its own."""
    name = f"dagster_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as postgres:
        postgres.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        url = urlsplit(postgres_url)._replace(scheme="postgresql+psycopg2", path=f"/{name}").geturl()
        storage = PostgresEventLogStorage(url)
        yield storage
        storage.dispose()
        postgres.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.server
def test_postgres_stores_many_events_by_one_statement(
    event_log: PostgresEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the event it takes 23 to 58 ms for each."""
    sizes = []
    store = event_log.store_event_batch
    monkeypatch.setattr(event_log, "store_event_batch", lambda events: sizes.append(len(events)) or store(events))
    # All that the recorder asks of an instance.
    instance: Any = SimpleNamespace(event_log_storage=event_log)
    keys = [TokenMonth(TokenKey("binance", f"T{k:03d}_USDT"), "2025-03") for k in range(600)]
    MaterializationRecorder(instance, str(uuid4()), backfill_job.name).record([outcome(key) for key in keys])
    assert sizes == [500, 100] * len(SIMULATION_ASSETS)
    for name in SIMULATION_ASSETS:
        assert len(event_log.get_materialized_partitions(dg.AssetKey(name))) == 600
    assert event_log.all_asset_keys() == [dg.AssetKey(name) for name in sorted(SIMULATION_ASSETS)]
