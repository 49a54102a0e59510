"""The inbox sensor and the schedule."""

from pathlib import Path

import dagster as dg
import pytest

from quantbot_pipeline.defs.jobs import nightly_report
from quantbot_pipeline.defs.sensors import alert_inbox_sensor
from quantbot_pipeline.settings import Settings, load_settings

HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(home=tmp_path)
    (settings.inbox / "alerts").mkdir(parents=True)
    return settings


def _tick(settings: Settings, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"settings": settings})
        result = alert_inbox_sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def test_an_empty_inbox_is_skipped(settings: Settings) -> None:
    assert isinstance(_tick(settings), dg.SkipReason)


def test_a_new_file_is_requested_once(settings: Settings) -> None:
    file = settings.inbox / "alerts" / "calls.csv"
    file.write_text(HEADER + "a,BONK_USDT,binance,2025-01-01T00:00:00Z,1,\n")
    first = _tick(settings)
    assert isinstance(first, dg.SensorResult)
    (request,) = first.run_requests or []
    assert request.run_config == {"ops": {"ingest_alerts": {"config": {"paths": [str(file)]}}}}
    assert request.tags["dagster/max_retries"] == "0"
    assert isinstance(_tick(settings, first.cursor), dg.SkipReason)


def test_the_same_content_under_another_name_has_the_same_run_key(settings: Settings) -> None:
    folder = settings.inbox / "alerts"
    (folder / "a.csv").write_text(HEADER)
    (folder / "b.csv").write_text(HEADER)
    result = _tick(settings)
    assert isinstance(result, dg.SensorResult)
    assert len({request.run_key for request in result.run_requests or []}) == 1


def test_many_files_are_taken_in_bounded_batches_and_none_is_left_out(settings: Settings) -> None:
    for number in range(45):
        (settings.inbox / "alerts" / f"{number:02d}.csv").write_text(HEADER + str(number))
    cursor, sizes = None, []
    while isinstance(result := _tick(settings, cursor), dg.SensorResult):
        cursor = result.cursor
        sizes.append(len(result.run_requests or []))
    assert sizes == [20, 20, 5]


def test_files_of_other_kinds_are_left_alone(settings: Settings) -> None:
    (settings.inbox / "alerts" / "notes.txt").write_text("hello")
    assert isinstance(_tick(settings), dg.SkipReason)


def test_the_schedule_asks_for_a_run_every_night() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        data = nightly_report.evaluate_tick(dg.build_schedule_context(instance=instance))
    assert len(data.run_requests or []) == 1
    assert nightly_report.cron_schedule == "0 2 * * *"
