"""The client against a server that misbehaves: retries, waits, limits, and the key that is shown to nobody."""

import json
import logging
import random
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from pydantic import SecretStr

from quantbot_pipeline.errors import ConfigError, SourceError
from quantbot_pipeline.sources.client import RequestLimits, SourceClient
from quantbot_pipeline.sources.clock import Clock
from quantbot_pipeline.sources.failures import SourceAccessError, SourceNotFoundError, SourceUnreachableError
from quantbot_pipeline.sources.rate_limit import TokenBucket
from tests.unit.sources.source_server import KEY, Reply, SourceServer, TestClock, json_reply, serving

NOW = 1_760_000_000.0
GOOD = json_reply({"data": [1, 2]})


@pytest.fixture
def server() -> Iterator[SourceServer]:
    with serving(lambda _request: GOOD) as running:
        yield running


@pytest.fixture
def time() -> TestClock:
    return TestClock(NOW)


def _client(url: str, clock: Clock, limits: RequestLimits | None = None, *, key: str | None = KEY) -> SourceClient:
    return SourceClient(
        name="testsource",
        base_url=url,
        url_variable="QUANTBOT_TEST_URL",
        # So quick that its waits are none; it has tests of its own.
        bucket=TokenBucket(rate_per_second=1e9, burst=1000, clock=clock),
        clock=clock,
        key_header="X-API-KEY",
        key=None if key is None else SecretStr(key),
        key_variable="QUANTBOT_TEST_KEY",
        limits=limits,
        jitter=random.Random(7),  # noqa: S311 - the same waits in every run
    )


@contextmanager
def _opened(
    url: str, clock: Clock, limits: RequestLimits | None = None, *, key: str | None = KEY
) -> Iterator[SourceClient]:
    client = _client(url, clock, limits, key=key)
    try:
        yield client
    finally:
        client.close()


def _everything_said(error: BaseException) -> str:
    """All that a traceback, a log or a debugger would show of an error and of what it came from."""
    said = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        said += [str(seen), repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__
    return "\n".join(said)


def test_good_answer_is_returned_with_key_and_query_sent(server: SourceServer, time: TestClock) -> None:
    with _opened(server.url, time.clock) as client:
        assert client.get_json("/a", {"x": 1}).document == {"data": [1, 2]}
    (request,) = server.requests
    assert (request.path, request.query) == ("/a", {"x": "1"})
    assert request.headers["x-api-key"] == KEY
    assert request.headers["accept-encoding"] == "identity"
    assert time.slept == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply(500, b"oops"), id="500"),
        pytest.param(Reply(503, b"oops"), id="503"),
        pytest.param(Reply(429, b"{}"), id="429"),
        pytest.param(Reply(200, b'{"data": [1', missing_bytes=50), id="body that breaks off"),
        pytest.param(Reply(200, b'{"data": [1'), id="JSON that breaks off"),
        pytest.param(Reply(200, b"not json"), id="no JSON"),
        pytest.param(Reply(200, b"[" * 200_000), id="brackets without end"),
        pytest.param(Reply(200, b"\xff\xfe{}\x00"), id="no text"),
        pytest.param(Reply(200, b"[" + b"9" * 10_000 + b"]"), id="number without end"),
        pytest.param(Reply(200, b"<html>", {"Content-Type": "text/html"}), id="a page instead of JSON"),
    ],
)
def test_passing_fault_is_tried_again(fault: Reply, server: SourceServer, time: TestClock) -> None:
    server.queued = [fault]
    with _opened(server.url, time.clock) as client:
        assert client.get_json("/a", {}).document == {"data": [1, 2]}
        assert client.request_count == 2
    assert len(time.slept) == 1


def test_tries_are_bounded_and_waits_grow_with_full_jitter(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(500, b"x")] * 20
    with (
        _opened(server.url, time.clock) as client,
        pytest.raises(SourceUnreachableError, match=r"6 tries.*answered 500"),
    ):
        client.get_json("/a", {})
    assert len(server.requests) == 6
    # Bounds of the waits: 2, 4, 8, 16, 32 s; each wait is a random part of its bound.
    assert len(time.slept) == 5
    assert all(0 <= slept <= 2 * 2**number for number, slept in enumerate(time.slept))
    assert len(set(time.slept)) == 5
    assert max(time.slept) > 4


def test_retry_after_in_seconds_is_honoured(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(429, b"{}", {"Retry-After": "17"})]
    with _opened(server.url, time.clock) as client:
        client.get_json("/a", {})
    assert 17 <= time.slept[0] <= 19


def test_retry_after_as_date_is_honoured(server: SourceServer, time: TestClock) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + 40, UTC), usegmt=True)
    server.queued = [Reply(503, b"{}", {"Retry-After": date})]
    with _opened(server.url, time.clock) as client:
        client.get_json("/a", {})
    assert 40 <= time.slept[0] <= 42


@pytest.mark.parametrize("text", ["soon", "", "-3", "٣", "Mon, 99 Xxx 2025 00:00:00 GMT"])
def test_retry_after_that_means_nothing_is_a_usual_wait(text: str, server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(429, b"{}", {"Retry-After": text.encode().decode("latin-1")})]
    with _opened(server.url, time.clock) as client:
        client.get_json("/a", {})
    assert 0 <= time.slept[0] <= 2


def test_pause_that_is_too_long_is_left_to_the_next_run(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(429, b"{}", {"Retry-After": "86400"})]
    with _opened(server.url, time.clock) as client, pytest.raises(SourceUnreachableError, match="wait 86400 s"):
        client.get_json("/a", {})
    assert time.slept == []


def test_server_that_accepts_and_sends_nothing_ends_by_time_out(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(stall_seconds=30)] * 2
    limits = RequestLimits(read_seconds=0.2, tries=2)
    with (
        _opened(server.url, time.clock, limits) as client,
        pytest.raises(SourceUnreachableError, match=r"2 tries.*nothing came for 0\.2 s"),
    ):
        client.get_json("/a", {})


def test_server_that_drips_ends_by_the_time_for_a_whole_answer(server: SourceServer) -> None:
    server.queued = [Reply(body=b"[" + b" " * 1000, drip_seconds=0.01)]
    limits = RequestLimits(total_seconds=0.2, tries=1)
    with (
        _opened(server.url, Clock(), limits) as client,
        pytest.raises(SourceUnreachableError, match=r"not complete after 0\.2 s"),
    ):
        client.get_json("/a", {})


def test_no_server_is_told_as_such(time: TestClock) -> None:
    with serving(lambda _request: GOOD) as stopped:
        url = stopped.url
    with (
        _opened(url, time.clock, RequestLimits(tries=2)) as client,
        pytest.raises(SourceUnreachableError, match="no connection"),
    ):
        client.get_json("/a", {})


def test_answer_beyond_the_size_limit_is_not_read_further(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(body=b"[" + b"1," * 100_000)]
    limits = RequestLimits(answer_bytes=10_000)
    with (
        _opened(server.url, time.clock, limits) as client,
        pytest.raises(SourceError, match="longer than 10,000 bytes"),
    ):
        client.get_json("/a", {})
    assert len(server.requests) == 1


def test_compressed_answer_that_nobody_asked_for_is_refused(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(headers={"Content-Encoding": "gzip"})]
    with _opened(server.url, time.clock) as client, pytest.raises(SourceError, match="compressed"):
        client.get_json("/a", {})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_to_another_host_is_refused_and_the_key_does_not_follow(
    status: int, server: SourceServer, time: TestClock
) -> None:
    with serving(lambda _request: GOOD) as elsewhere:
        target = elsewhere.url.replace("127.0.0.1", "localhost")
        server.queued = [Reply(status, b"", {"Location": f"{target}/a"})]
        with _opened(server.url, time.clock) as client, pytest.raises(SourceError, match="redirect to 'localhost'"):
            client.get_json("/a", {})
        assert elsewhere.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, SourceError),
        (401, SourceAccessError),
        (403, SourceAccessError),
        (404, SourceNotFoundError),
        (422, SourceError),
    ],
)
def test_refusal_is_final_and_says_what_the_server_said(
    status: int, kind: type[SourceError], server: SourceServer, time: TestClock
) -> None:
    server.queued = [json_reply({"success": False, "message": "because of this"}, status)]
    with _opened(server.url, time.clock) as client, pytest.raises(kind, match="because of this") as refused:
        client.get_json("/a", {})
    assert type(refused.value) is kind
    assert refused.value.exit_code == 3
    assert "\n" not in str(refused.value)
    assert len(server.requests) == 1


def test_without_a_key_a_refusal_is_no_matter_of_the_key(server: SourceServer, time: TestClock) -> None:
    server.queued = [Reply(401, b"{}")]
    with _opened(server.url, time.clock, key=None) as client, pytest.raises(SourceError) as refused:
        client.get_json("/a", {})
    assert type(refused.value) is SourceError


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(json_reply({"message": f"key {KEY} is unknown"}, 401), id="401"),
        pytest.param(json_reply({"message": f"key {KEY} is unknown"}, 400), id="400"),
        pytest.param(Reply(400, b"x" * 1990 + KEY.encode() + b"x" * 5000), id="key where the text is cut"),
        pytest.param(json_reply({"message": KEY}, 404), id="404"),
        pytest.param(Reply(500, KEY.encode()), id="500"),
        pytest.param(Reply(200, b"x", {"Content-Type": f"text/{KEY}"}), id="content type"),
        pytest.param(Reply(302, b"", {"Location": f"http://{KEY}.example/{KEY}"}), id="redirect"),
        pytest.param(Reply(200, b"{", missing_bytes=9), id="broken off"),
        pytest.param(Reply(stall_seconds=5), id="stall"),
    ],
)
def test_key_is_in_no_error_even_when_the_server_repeats_it(
    fault: Reply, server: SourceServer, time: TestClock
) -> None:
    server.queued = [fault] * 2
    limits = RequestLimits(tries=2, read_seconds=0.2)
    with _opened(server.url, time.clock, limits) as client:
        assert KEY not in repr(client)
        with pytest.raises(SourceError) as refused:
            client.get_json("/a", {})
    said = _everything_said(refused.value)
    assert KEY not in said
    assert KEY.lower() not in said.lower()


def test_key_that_the_server_repeats_is_taken_out_of_a_good_answer(server: SourceServer, time: TestClock) -> None:
    server.queued = [json_reply({"echo": f"you sent {KEY}"})]
    with _opened(server.url, time.clock) as client:
        assert client.get_json("/a", {}).document == {"echo": "you sent ***"}


def test_key_is_in_no_log(server: SourceServer, time: TestClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.queued = [Reply(500, b"x"), json_reply({}, 401)]
    with _opened(server.url, time.clock) as client, pytest.raises(SourceAccessError):
        client.get_json("/a", {"x": 1})
    assert caplog.records
    assert KEY not in caplog.text
    assert all(KEY not in repr(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"{KEY}ü", f"a\x00{KEY}"])
def test_key_that_no_header_can_carry_is_refused_unseen(key: str, time: TestClock) -> None:
    with pytest.raises(ConfigError, match="QUANTBOT_TEST_KEY") as refused:
        _client("https://example.com", time.clock, key=key)
    assert KEY not in _everything_said(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "ftp://example.com", "https://", "https://host:0/", "https://host:x/", "https://h/?a=1"),
        *("https://xn--/", "https://h\t/"),
    ],
)
def test_address_that_can_not_be_used_names_its_variable(url: str, time: TestClock) -> None:
    with pytest.raises(ConfigError, match="QUANTBOT_TEST_URL"):
        _client(url, time.clock)


def test_key_is_sent_over_an_open_connection_to_this_machine_alone(time: TestClock) -> None:
    with pytest.raises(ConfigError, match="https:// alone"):
        _client("http://example.com", time.clock)
    _client("http://example.com", time.clock, key=None).close()
    _client("http://localhost:1", time.clock).close()


def test_json_type_with_suffix_is_json(server: SourceServer, time: TestClock) -> None:
    body = json.dumps([1]).encode()
    server.queued = [Reply(body=body, headers={"Content-Type": "application/vnd.api+json"})]
    with _opened(server.url, time.clock) as client:
        assert client.get_json("/a", {}).document == [1]
