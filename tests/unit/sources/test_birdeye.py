"""Birdeye's answers: the key, the pages, the rows."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from quantbot_pipeline.errors import ConfigError, SourceError
from quantbot_pipeline.ingest.candle_checks import check_candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sources.birdeye import Birdeye
from quantbot_pipeline.sources.candle_pages import CandlePage, Market
from quantbot_pipeline.sources.failures import SourceAccessError
from tests.unit.sources.source_server import (
    KEY,
    FakeBirdeye,
    SourceServer,
    TestClock,
    birdeye_items,
    json_reply,
    serving,
)

TOKEN = TokenKey("solana", "So11111111111111111111111111111111111111112")
EVM = TokenKey("base", "0x6982508145454ce325ddbe47a25d4ec3d2311933")
START = 1_759_999_800
STEP = 300


@pytest.fixture
def api() -> FakeBirdeye:
    return FakeBirdeye()


@pytest.fixture
def server(api: FakeBirdeye) -> Iterator[SourceServer]:
    with serving(api) as running:
        yield running


@contextmanager
def _source(server: SourceServer, key: str = KEY, clock: TestClock | None = None) -> Iterator[Birdeye]:
    source = Birdeye(
        SecretStr(key),
        base_url=server.url,
        clock=(clock or TestClock(START + 86400)).clock,
        jitter=random.Random(1),  # noqa: S311 - the same waits in every run
    )
    try:
        yield source
    finally:
        source.close()


def _pages(
    server: SourceServer, start: int, end: int, *, token: TokenKey = TOKEN, interval: str = "5m", key: str = KEY
) -> list[CandlePage]:
    with _source(server, key) as source:
        return list(source.pages(source.find_market(token), interval, start, end))


def _times(pages: list[CandlePage]) -> list[int]:
    return [int(text) for page in pages for text in page.rows.columns["timestamp"].to_pylist()]


def test_pages_of_a_thousand_candles_cover_the_range_once(server: SourceServer, api: FakeBirdeye) -> None:
    api.candles[TOKEN.address] = birdeye_items(TOKEN.address, START - 10 * STEP, 2700)
    end = START + 2500 * STEP
    pages = _pages(server, START, end)
    assert _times(pages) == list(range(START, end, STEP))
    assert [(page.start, page.end) for page in pages] == [
        (START, START + 1000 * STEP),
        (START + 1000 * STEP, START + 2000 * STEP),
        (START + 2000 * STEP, end),
    ]
    assert server.requests[0].path == "/defi/ohlcv"
    assert server.requests[0].query == {
        "address": TOKEN.address,
        "type": "5m",
        "time_from": str(START),
        "time_to": str(START + 1000 * STEP - 1),
    }
    assert server.requests[0].headers["x-chain"] == "solana"
    assert server.requests[0].headers["x-api-key"] == KEY


def test_requests_keep_the_smallest_plan_of_one_a_second(server: SourceServer) -> None:
    clock = TestClock(START + 86400)
    with _source(server, clock=clock) as source:
        list(source.pages(Market(TOKEN), "5m", START, START + 3500 * STEP))
    assert clock.slept == pytest.approx([1.0, 1.0, 1.0])


def test_intervals_of_hours_are_spelled_with_capitals(server: SourceServer) -> None:
    _pages(server, START // 3600 * 3600, START // 3600 * 3600 + 7200, interval="1h")
    assert server.requests[0].query["type"] == "1H"


def test_empty_answer_proves_that_nothing_was_traded(server: SourceServer) -> None:
    (page,) = _pages(server, START, START + 10 * STEP)
    assert (page.start, page.end, page.row_count) == (START, START + 10 * STEP, 0)


def test_volume_is_in_units_of_the_token_already(server: SourceServer, api: FakeBirdeye) -> None:
    api.candles[TOKEN.address] = birdeye_items(TOKEN.address, START, 2)
    (page,) = _pages(server, START, START + 2 * STEP)
    found = check_candles(page.rows, {"chain": "solana", "token_address": TOKEN.address, "interval": "5m"}, None)
    assert found.quarantined == ()
    assert found.values["volume"].tolist() == [7.0, 7.0]
    assert found.values["close"].tolist() == [1.5, 2.5]


def test_time_of_the_later_version_and_rows_that_are_none_are_told_apart(server: SourceServer) -> None:
    item = {"unix_time": START, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 3}
    server.queued = [json_reply({"success": True, "data": {"items": [item, {}, None, [1], {"unixTime": START}]}})]
    (page,) = _pages(server, START, START + STEP)
    found = check_candles(page.rows, {"chain": "solana", "token_address": TOKEN.address, "interval": "5m"}, None)
    assert found.table().num_rows == 1
    assert len(found.quarantined) == page.row_count - 1 == 4


def test_key_that_is_not_accepted_is_told_without_the_key(server: SourceServer) -> None:
    wrong = "another-key-0123456789"
    with pytest.raises(SourceAccessError, match="QUANTBOT_BIRDEYE_API_KEY") as refused:
        _pages(server, START, START + STEP, key=wrong)
    assert wrong not in str(refused.value)
    assert "Authentication required" in str(refused.value)


@pytest.mark.parametrize("key", [None, SecretStr("")])
def test_without_a_key_nothing_is_asked(key: SecretStr | None) -> None:
    with pytest.raises(ConfigError, match="QUANTBOT_BIRDEYE_API_KEY is not set"):
        Birdeye(key)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"success": False, "message": "Compute units usage limit exceeded"}, "Compute units"),
        ({"success": "true", "data": {"items": []}}, "no success"),
        ({"data": {"items": []}}, "no success"),
        ([], "no success"),
        (None, "no success"),
        ({"success": True}, "no list 'items'"),
        ({"success": True, "data": {"items": {}}}, "no list 'items'"),
    ],
)
def test_answer_of_another_shape_is_told(answer: Any, message: str, server: SourceServer) -> None:
    server.queued = [json_reply(answer)]
    with pytest.raises(SourceError, match=message):
        _pages(server, START, START + STEP)


def test_candles_of_another_token_are_refused(server: SourceServer) -> None:
    server.queued = [json_reply({"success": True, "data": {"items": birdeye_items("other", START, 1)}})]
    with pytest.raises(SourceError, match="about 'other'"):
        _pages(server, START, START + STEP)


def test_evm_addresses_are_compared_without_case(server: SourceServer) -> None:
    items = birdeye_items("0x6982508145454Ce325dDbE47a25d4ec3d2311933", START, 1)
    server.queued = [json_reply({"success": True, "data": {"items": items}})]
    assert _times(_pages(server, START, START + STEP, token=EVM)) == [START]
    assert server.requests[0].headers["x-chain"] == "base"
