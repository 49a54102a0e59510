"""Failed runs are told of once, whatever the webhook does."""

import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from quantbot_pipeline.defs import failure_sensor
from quantbot_pipeline.defs.failure_sensor import TOLD_TAG, run_failure_sensor
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.sources.webhook import DeliveryLimits, deliver
from tests.unit.sources.source_server import Reply, SourceServer, serving

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SECRET = "hook-8f31c0ffee"  # noqa: S105 - made up


@pytest.fixture
def server() -> Iterator[SourceServer]:
    with serving(lambda _: Reply(200)) as running:
        yield running


@pytest.fixture
def settings(server: SourceServer, tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, alert_webhook_url=f"{server.url}/{SECRET}")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _fail(instance: dg.DagsterInstance, error: Exception, **tags: str) -> dg.ExecuteInProcessResult:
    @dg.op
    def break_down() -> None:
        raise RuntimeError("outer") from error

    @dg.job(name="simulate_job")
    def failing() -> None:
        break_down()

    return failing.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False, tags=tags)


def _tick(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult, settings: Settings) -> str:
    context: Any = dg.build_run_status_sensor_context(
        sensor_name="run_failure_sensor",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
        resources={"settings": settings},
    ).for_run_failure()
    answer: Any = run_failure_sensor(context)
    return str(answer.skip_message)


def _told(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str | None:
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.tags.get(TOLD_TAG)


def test_a_failed_run_is_told_with_its_innermost_error(
    instance: dg.DagsterInstance, server: SourceServer, settings: Settings
) -> None:
    result = _fail(instance, ValueError("disk is full"), **{"dagster/partition": "2025-03-01|binance:A"})
    assert _tick(instance, result, settings).endswith("told of run " + result.run_id + ": webhook")
    [request] = server.requests
    document = json.loads(request.body)
    assert document["job"] == "simulate_job"
    assert document["partitions"] == "2025-03-01|binance:A"
    assert document["errors"][0]["step"] == "break_down"
    assert "disk is full" in document["errors"][0]["error"]
    assert request.headers["idempotency-key"] == result.run_id
    assert _told(instance, result) == "webhook"


def test_a_tick_that_is_repeated_tells_nothing_again(
    instance: dg.DagsterInstance, server: SourceServer, settings: Settings
) -> None:
    result = _fail(instance, ValueError("x"))
    _tick(instance, result, settings)
    assert "told of already" in _tick(instance, result, settings)
    assert len(server.requests) == 1


def test_a_tick_that_died_after_delivering_repeats_the_same_key(
    instance: dg.DagsterInstance, server: SourceServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _fail(instance, ValueError("x"))
    with monkeypatch.context() as dying:
        dying.setattr(type(instance), "add_run_tags", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            _tick(instance, result, settings)
    _tick(instance, result, settings)
    assert len({request.headers["idempotency-key"] for request in server.requests}) == 1


def test_a_run_that_is_tried_again_is_not_told(
    instance: dg.DagsterInstance, server: SourceServer, settings: Settings
) -> None:
    result = _fail(instance, ValueError("x"), **{"dagster/will_retry": "true"})
    assert "is tried again" in _tick(instance, result, settings)
    assert server.requests == []


def test_a_webhook_that_fails_fails_nothing_and_is_logged_without_its_address(
    instance: dg.DagsterInstance,
    server: SourceServer,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.answer = lambda _: Reply(500)
    quick = DeliveryLimits(try_seconds=0.3, first_wait_seconds=0.01)
    monkeypatch.setattr(failure_sensor, "deliver", partial(deliver, limits=quick))
    result = _fail(instance, ValueError(f"asked {server.url}/{SECRET}"))
    with caplog.at_level(logging.ERROR, "quantbot.failures"):
        _tick(instance, result, settings)
    assert _told(instance, result) == "webhook failed"
    assert "status 500, at each of 3 tries" in caplog.text
    assert SECRET not in caplog.text


def test_without_a_webhook_a_failed_run_is_in_the_log(
    instance: dg.DagsterInstance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = _fail(instance, ValueError("disk is full"))
    with caplog.at_level(logging.ERROR, "quantbot.failures"):
        _tick(instance, result, load_settings(home=tmp_path, alert_webhook_url=None))
    assert "simulate_job failed" in caplog.text
    assert "disk is full" in caplog.text
    assert _told(instance, result) == "log"
