"""The sensors and the schedule."""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quantbot_pipeline.defs.schedules import nightly_report
from quantbot_pipeline.defs.sensors import alert_inbox_sensor, candle_inbox_sensor
from quantbot_pipeline.settings import Settings, load_settings

HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"
SENSORS = {"alerts": alert_inbox_sensor, "candles": candle_inbox_sensor}
OPS = {"alerts": "take_alert_files", "candles": "take_candle_files"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(home=tmp_path, inbox_settle_seconds=0)
    for kind in SENSORS:
        (settings.inbox / kind).mkdir(parents=True)
    return settings


def _tick(
    settings: Settings, cursor: str | None = None, *, kind: str = "alerts", instance: dg.DagsterInstance | None = None
) -> dg.SensorResult:
    with dg.DagsterInstance.ephemeral() as fresh:
        context = dg.build_sensor_context(instance=instance or fresh, cursor=cursor, resources={"settings": settings})
        result = SENSORS[kind](context)
    assert isinstance(result, dg.SensorResult)
    return result


def _requested(result: dg.SensorResult, kind: str = "alerts") -> list[str]:
    """Return the files of the one run that was requested; none without one."""
    if not result.run_requests:
        return []
    (request,) = result.run_requests
    (files,) = [part["config"]["inbox_files"] for part in request.run_config["ops"].values()]
    assert list(request.run_config["ops"]) == [OPS[kind]]
    assert request.tags["dagster/max_retries"] == "0"
    found: list[str] = files
    return found


def _drop(settings: Settings, name: str, *, kind: str = "alerts", text: str = HEADER) -> Path:
    path = settings.inbox / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_empty_inbox_is_skipped(settings: Settings) -> None:
    assert "no files" in str(_tick(settings).skip_reason)


@pytest.mark.parametrize("kind", list(SENSORS))
def test_a_file_is_requested_at_the_second_look_that_finds_it_the_same(settings: Settings, kind: str) -> None:
    _drop(settings, "calls.csv", kind=kind)
    first = _tick(settings, kind=kind)
    assert "not complete" in str(first.skip_reason)
    assert _requested(_tick(settings, first.cursor, kind=kind), kind) == ["calls.csv"]


def test_a_file_that_grows_is_waited_for(settings: Settings) -> None:
    path = _drop(settings, "calls.csv")
    first = _tick(settings)
    path.write_text(HEADER + "a,BONK_USDT,binance,2025-01-01T00:00:00Z,1,\n")
    second = _tick(settings, first.cursor)
    assert _requested(second) == []
    assert _requested(_tick(settings, second.cursor)) == ["calls.csv"]


def test_the_time_to_settle_is_waited_for_whatever_the_number_of_looks(settings: Settings) -> None:
    slow = settings.model_copy(update={"inbox_settle_seconds": 3600.0})
    _drop(settings, "calls.csv")
    cursor = None
    for _ in range(3):
        result = _tick(slow, cursor)
        cursor = result.cursor
        assert _requested(result) == []
    document = json.loads(cursor or "")
    document["looks"]["calls.csv"][1] -= 3600
    assert _requested(_tick(slow, json.dumps(document))) == ["calls.csv"]


def test_no_second_run_is_requested_while_one_is_under_way(settings: Settings) -> None:
    _drop(settings, "calls.csv")
    cursor = _tick(settings).cursor
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(_job(), status=dg.DagsterRunStatus.STARTED)
        waiting = _tick(settings, cursor, instance=instance)
        assert "under way" in str(waiting.skip_reason)
        instance.report_run_failed(run)
        assert _requested(_tick(settings, waiting.cursor, instance=instance)) == ["calls.csv"]


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name="ingest_alerts_job")
    def named() -> None:
        nothing()

    return named


def test_a_request_that_came_to_nothing_is_made_again_under_another_key(settings: Settings) -> None:
    """A key that depends on the content alone never asked again for a file whose run had died."""
    _drop(settings, "calls.csv")
    second = _tick(settings, _tick(settings).cursor)
    third = _tick(settings, second.cursor)
    assert _requested(second) == _requested(third) == ["calls.csv"]
    keys = [request.run_key for result in (second, third) for request in result.run_requests or []]
    assert len(set(keys)) == 2


def test_a_tick_that_is_repeated_makes_the_same_request(settings: Settings) -> None:
    """A tick whose cursor was not stored is repeated: the key says that its run was asked for already."""
    _drop(settings, "calls.csv")
    cursor = _tick(settings).cursor
    keys = {request.run_key for _ in range(2) for request in _tick(settings, cursor).run_requests or []}
    assert len(keys) == 1


def test_a_file_that_a_dead_run_left_half_taken_is_requested(settings: Settings) -> None:
    _drop(settings, "taken/calls.csv")
    result = _tick(settings)
    assert len(result.run_requests or []) == 1
    assert _requested(result) == []


def test_many_files_are_taken_in_bounded_batches_and_none_is_left_out(settings: Settings) -> None:
    for number in range(45):
        _drop(settings, f"{number:02d}.csv", text=HEADER + str(number))
    cursor, sizes, taken = _tick(settings).cursor, [], set()
    while files := _requested(result := _tick(settings, cursor)):
        cursor = result.cursor
        sizes.append(len(files))
        taken |= set(files)
        for name in files:
            (settings.inbox / "alerts" / name).unlink()
    assert sizes == [20, 20, 5]
    assert len(taken) == 45


def test_files_of_other_kinds_are_left_alone(settings: Settings) -> None:
    _drop(settings, "notes.txt")
    _drop(settings, "calls.csv.part")
    assert "no files" in str(_tick(settings).skip_reason)


def test_a_cursor_of_an_older_version_is_none(settings: Settings) -> None:
    _drop(settings, "calls.csv")
    assert _requested(_tick(settings, json.dumps({"calls.csv": "66:1"}))) == []


def test_a_name_that_is_no_text_harms_nothing(settings: Settings) -> None:
    raw = os.fsencode(settings.inbox / "alerts") + b"/\xff.csv"
    with open(raw, "wb") as stream:  # noqa: PTH123 - a path in bytes
        stream.write(HEADER.encode())
    first = _tick(settings)
    result = _tick(settings, first.cursor)
    assert [os.fsencode(name) for name in _requested(result)] == [b"\xff.csv"]


def test_the_schedule_asks_for_a_run_every_night() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        data: Any = nightly_report.evaluate_tick(dg.build_schedule_context(instance=instance))
    assert len(data.run_requests or []) == 1
    assert nightly_report.cron_schedule == "0 2 * * *"
