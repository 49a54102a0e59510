"""Delivery to a webhook on this machine that answers well, badly, late or not at all."""

import json
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from quantbot_pipeline.sources.webhook import DeliveryLimits, deliver
from tests.unit.sources.source_server import Reply, SourceServer, TestClock, serving

QUICK = DeliveryLimits(try_seconds=0.3)
PATH = "/services/T0/secret-part"


@pytest.fixture
def server() -> Iterator[SourceServer]:
    with serving(lambda _: Reply(200, b"ok")) as running:
        yield running


def _deliver(server: SourceServer, clock: TestClock | None = None, path: str = PATH) -> str | None:
    return deliver(
        SecretStr(server.url + path),
        {"text": "a run failed"},
        idempotency_key="run-1",
        limits=QUICK,
        clock=(clock or TestClock(0)).clock,
    )


def test_document_is_posted_once_with_its_key(server: SourceServer) -> None:
    assert _deliver(server) is None
    [request] = server.requests
    assert json.loads(request.body) == {"text": "a run failed"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "run-1"


def test_passing_faults_are_tried_again_with_growing_waits(server: SourceServer) -> None:
    server.queued += [Reply(500), Reply(429)]
    clock = TestClock(0)
    assert _deliver(server, clock) is None
    assert len(server.requests) == 3
    assert clock.slept == [0.5, 1.0]


def test_a_server_that_always_fails_is_left_alone_after_three_tries(server: SourceServer) -> None:
    server.answer = lambda _: Reply(500, b"secret-part is quoted by nobody")
    assert _deliver(server) == "the webhook answered with status 500, at each of 3 tries"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 410, 302])
def test_what_can_not_get_better_is_not_tried_again(server: SourceServer, status: int) -> None:
    server.answer = lambda _: Reply(status, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    assert _deliver(server) == f"the webhook answered with status {status}"
    assert len(server.requests) == 1


def test_a_server_that_stalls_costs_its_time_and_no_more(server: SourceServer) -> None:
    server.answer = lambda _: Reply(stall_seconds=60)
    started = time.monotonic()
    reason = _deliver(server)
    # Three tries of 0.3 seconds.
    assert time.monotonic() - started < 3
    assert reason is not None
    assert "at each of 3 tries" in reason


def test_a_body_that_drips_is_not_waited_for(server: SourceServer) -> None:
    server.answer = lambda _: Reply(200, b"x" * 100, drip_seconds=0.1)
    started = time.monotonic()
    assert _deliver(server) is None
    assert time.monotonic() - started < 3


def test_nobody_listening_is_said_without_the_address(server: SourceServer) -> None:
    address = SecretStr("http://127.0.0.1:1/services/secret-part")
    reason = deliver(address, {}, idempotency_key="run-1", limits=QUICK, clock=TestClock(0).clock)
    assert reason is not None
    assert "can't be reached" in reason
    assert "secret-part" not in reason


@pytest.mark.parametrize(
    "url", ["", "secret-part", "ftp://host/secret-part", "http://", "http://host:99999/secret-part"]
)
def test_what_is_no_address_is_said_without_repeating_it(url: str) -> None:
    reason = deliver(SecretStr(url), {}, idempotency_key="run-1", limits=QUICK, clock=TestClock(0).clock)
    assert reason == "QUANTBOT_ALERT_WEBHOOK_URL is no address; allowed is one such as https://host/path"
