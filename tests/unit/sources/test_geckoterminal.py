"""GeckoTerminal's answers: which pool, which pages, which rows, and what they prove."""

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import SourceError
from quantbot_pipeline.ingest.candle_checks import check_candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sources.candle_pages import CandlePage, Market
from quantbot_pipeline.sources.failures import SourceNotFoundError
from quantbot_pipeline.sources.geckoterminal import GeckoTerminal
from tests.unit.sources.source_server import (
    FakeGeckoTerminal,
    Reply,
    SourceServer,
    TestClock,
    gecko_candles,
    gecko_rows,
    json_reply,
    pool,
    serving,
)

TOKEN = TokenKey("solana", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
EVM = TokenKey("ethereum", "0x6982508145454ce325ddbe47a25d4ec3d2311933")
POOL = "4w2cysotX6czaUGmmWg13hDpY4QEMG2CzeKYEQyK9Ama"
MARKET = Market(TOKEN, POOL)
# 2025-10-09T08:50:00Z, on the grid of 5m.
START = 1_759_999_800
STEP = 300
NOW = START + 30 * 86400


@pytest.fixture
def api() -> FakeGeckoTerminal:
    return FakeGeckoTerminal()


@pytest.fixture
def server(api: FakeGeckoTerminal) -> Iterator[SourceServer]:
    with serving(api) as running:
        yield running


@contextmanager
def _source(server: SourceServer, now: float = NOW) -> Iterator[GeckoTerminal]:
    source = GeckoTerminal(
        base_url=f"{server.url}/",
        clock=TestClock(now).clock,
        jitter=random.Random(1),  # noqa: S311 - the same waits in every run
    )
    try:
        yield source
    finally:
        source.close()


def _pages(server: SourceServer, start: int, end: int, interval: str = "5m", now: float = NOW) -> list[CandlePage]:
    with _source(server, now) as source:
        return list(source.pages(MARKET, interval, start, end))


def _times(pages: list[CandlePage]) -> list[int]:
    return sorted(int(text) for page in pages for text in page.rows.columns["timestamp"].to_pylist())


# --- pools ---


def test_most_liquid_pool_is_chosen(server: SourceServer, api: FakeGeckoTerminal) -> None:
    api.pools[TOKEN.address] = [
        pool("small", TOKEN.address, reserve="9.5"),
        pool("large", TOKEN.address, reserve="100000.25", created="2025-09-01T10:00:00Z"),
        pool("unknown", TOKEN.address, reserve=None),
    ]
    with _source(server) as source:
        market = source.find_market(TOKEN)
    assert market == Market(TOKEN, "large", "base", datetime(2025, 9, 1, 10, tzinfo=UTC))
    assert server.requests[0].path == f"/networks/solana/tokens/{TOKEN.address}/pools"
    assert server.requests[0].headers["accept"] == "application/json;version=20230203"
    assert "x-api-key" not in server.requests[0].headers


def test_token_that_is_the_quote_of_its_pool_is_asked_for_as_quote(
    server: SourceServer, api: FakeGeckoTerminal
) -> None:
    """Asked for its base, such a pool would give the prices of the other token."""
    api.pools[TOKEN.address] = [pool(POOL, TOKEN.address, side="quote")]
    api.candles[POOL] = gecko_rows(START, 1)
    with _source(server) as source:
        market = source.find_market(TOKEN)
        list(source.pages(market, "5m", START, START + STEP))
    assert market.side == "quote"
    assert server.requests[-1].query["token"] == "quote"  # noqa: S105 - a side of a pool


def test_evm_addresses_are_compared_without_case_and_networks_have_their_own_names(
    server: SourceServer, api: FakeGeckoTerminal
) -> None:
    api.pools[EVM.address] = [pool("0xAb", "0x6982508145454Ce325dDbE47a25d4ec3d2311933", network="eth")]
    with _source(server) as source:
        assert source.find_market(EVM).pool_address == "0xAb"
    assert server.requests[0].path == f"/networks/eth/tokens/{EVM.address}/pools"


@pytest.mark.parametrize(
    "unusable",
    [
        pool("p", "AnotherTokenAnotherTokenAnotherToken11111111"),
        pool("../../../elsewhere", TOKEN.address),
        pool("a?b=c", TOKEN.address),
        pool("", TOKEN.address),
        {"attributes": {"address": POOL}},
        {},
        None,
        7,
    ],
)
def test_pool_that_can_not_be_used_is_passed_over(
    unusable: object, server: SourceServer, api: FakeGeckoTerminal
) -> None:
    api.pools[TOKEN.address] = [unusable, pool(POOL, TOKEN.address, reserve="0.1")]  # type: ignore[list-item]
    with _source(server) as source:
        assert source.find_market(TOKEN).pool_address == POOL
        api.pools[TOKEN.address].pop()
        with pytest.raises(SourceNotFoundError, match="of 1 pools none"):
            source.find_market(TOKEN)


def test_token_and_pool_that_do_not_exist_are_told(server: SourceServer) -> None:
    with _source(server) as source:
        with pytest.raises(SourceNotFoundError, match=f"tokens/{TOKEN.address}/pools.*404"):
            source.find_market(TOKEN)
        with pytest.raises(SourceNotFoundError, match=f"pools/{POOL}/ohlcv.*404"):
            list(source.pages(MARKET, "5m", START, START + STEP))
    # Not tried again: it will not be there a moment later.
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [[], {}, {"data": {}}, {"data": None}, None, 7, "text"])
def test_pools_of_another_shape_are_told(answer: object, server: SourceServer) -> None:
    server.queued = [json_reply(answer)]
    with _source(server) as source, pytest.raises(SourceError, match="no list 'data'"):
        source.find_market(TOKEN)


def test_chains_that_it_serves() -> None:
    source = GeckoTerminal()
    try:
        assert source.serves("solana")
        assert source.serves("base")
        assert not source.serves("binance")
        assert not source.serves("unknown-evm")
    finally:
        source.close()


# --- pages ---


@pytest.mark.parametrize("is_border_inclusive", [False, True])
def test_pages_go_back_in_time_until_the_range_is_covered(
    is_border_inclusive: bool, server: SourceServer, api: FakeGeckoTerminal
) -> None:
    """Whether `before_timestamp` itself is given again is not documented; no candle is lost either way."""
    api.is_border_inclusive = is_border_inclusive
    api.candles[POOL] = gecko_rows(START - 50 * STEP, 2600)
    end = START + 2500 * STEP
    pages = _pages(server, START, end)
    wanted = set(range(START, end, STEP))
    assert wanted <= set(_times(pages))
    assert len(pages) == len(server.requests) == 3
    # Newest first, without a hole between them.
    assert [page.end for page in pages] == [end, pages[0].start, pages[1].start]
    assert pages[-1].start == START
    assert server.requests[0].query == {
        "aggregate": "5",
        "before_timestamp": str(end),
        "limit": "1000",
        "currency": "usd",
        "token": "base",
    }
    assert server.requests[0].path == f"/networks/solana/pools/{POOL}/ohlcv/minute"
    repeated = len(_times(pages)) - len(set(_times(pages)))
    assert repeated == (2 if is_border_inclusive else 0)


@pytest.mark.parametrize("is_border_inclusive", [False, True])
def test_range_of_one_candle_is_covered(
    is_border_inclusive: bool, server: SourceServer, api: FakeGeckoTerminal
) -> None:
    api.is_border_inclusive = is_border_inclusive
    api.candles[POOL] = gecko_rows(START - STEP, 3)
    (page,) = _pages(server, START, START + STEP)
    assert (page.start, page.end) == (START, START + STEP)
    assert START in _times([page])


def test_gaps_are_gaps_and_a_short_page_covers_all_of_the_range(server: SourceServer, api: FakeGeckoTerminal) -> None:
    api.candles[POOL] = [gecko_rows(START + 40 * STEP, 1)[0], gecko_rows(START + 900 * STEP, 1)[0]]
    (page,) = _pages(server, START, START + 950 * STEP)
    assert (page.start, page.end) == (START, START + 950 * STEP)
    assert _times([page]) == [START + 40 * STEP, START + 900 * STEP]


def test_empty_answer_proves_that_nothing_was_traded(server: SourceServer, api: FakeGeckoTerminal) -> None:
    api.candles[POOL] = []
    (page,) = _pages(server, START, START + 100 * STEP)
    assert (page.start, page.end, page.row_count) == (START, START + 100 * STEP, 0)


def test_what_is_absent_beyond_the_reach_of_the_free_api_proves_nothing(
    server: SourceServer, api: FakeGeckoTerminal
) -> None:
    api.candles[POOL] = gecko_rows(START + 60 * STEP, 40)
    now = START + 400 * 86400
    (page,) = _pages(server, START, START + 100 * STEP, now=now)
    # From the oldest candle on it does answer; before that it may be the plan that ends.
    assert (page.start, page.end) == (START + 60 * STEP, START + 100 * STEP)
    api.candles[POOL] = []
    (page,) = _pages(server, START, START + 100 * STEP, now=now)
    assert page.start == page.end


def test_range_longer_than_one_answer_reaches_is_asked_for_in_parts(
    server: SourceServer, api: FakeGeckoTerminal
) -> None:
    api.candles[POOL] = []
    day = 86400
    end = START // day * day
    pages = _pages(server, end - 400 * day, end, "1d", now=end + day)
    # 180 days at a time; what is older than 180 days is not proven.
    assert [int(r.query["before_timestamp"]) for r in server.requests] == [end, end - 180 * day, end - 360 * day]
    assert pages[0].start == end - 179 * day
    assert all(page.start == page.end for page in pages[1:])


def test_rows_in_any_order_are_all_taken_and_the_way_back_rests_on_the_oldest(
    server: SourceServer, api: FakeGeckoTerminal
) -> None:
    rows = gecko_rows(START, 1500)
    first = rows[500:]
    random.Random(3).shuffle(first)  # noqa: S311 - the same order in every run
    server.queued = [gecko_candles(first)]
    api.candles[POOL] = rows
    pages = _pages(server, START, START + 1500 * STEP)
    assert set(_times(pages)) == set(range(START, START + 1500 * STEP, STEP))
    assert server.requests[1].query["before_timestamp"] == str(START + 500 * STEP)


def test_server_that_does_not_go_back_in_time_is_not_asked_for_ever(server: SourceServer) -> None:
    end = START + 3000 * STEP
    server.answer = lambda _request: gecko_candles(gecko_rows(end, 1000))
    with pytest.raises(SourceError, match="none of them lies before"):
        _pages(server, START, end)
    assert len(server.requests) == 1


def test_times_that_can_not_be_true_do_not_decide_how_far_back_a_page_reaches(server: SourceServer) -> None:
    """A row of 1970 must not make the rest of the range count as fetched."""
    rows: list[object] = [*gecko_rows(START + 2000 * STEP, 996), [5, 1, 1, 1, 1, 1], [True, 1], ["x"], None]
    server.queued = [gecko_candles(rows)]
    server.answer = lambda _request: gecko_candles([])
    pages = _pages(server, START, START + 3000 * STEP)
    assert pages[0].start == START + 2000 * STEP


@pytest.mark.parametrize("answer", [{}, {"data": []}, {"data": {"attributes": {}}}, [1], None])
def test_candles_of_another_shape_are_told(answer: object, server: SourceServer) -> None:
    server.queued = [json_reply(answer)]
    with pytest.raises(SourceError, match="no list 'ohlcv_list'"):
        _pages(server, START, START + STEP)


def test_candles_of_a_pool_without_the_token_are_refused(server: SourceServer) -> None:
    server.queued = [gecko_candles(gecko_rows(START, 1), base={"address": "other"}, quote={"address": "another"})]
    with pytest.raises(SourceError, match="a pool without"):
        _pages(server, START, START + STEP)
    server.queued = [gecko_candles(gecko_rows(START, 1), base={"address": "other"}, quote={"address": TOKEN.address})]
    assert len(_pages(server, START, START + STEP)) == 1


# --- rows ---


def _checked(server: SourceServer, *rows: object) -> tuple[list[dict[str, object]], list[str]]:
    server.queued = [gecko_candles(rows)]
    (page,) = _pages(server, START, START + 100 * STEP)
    given: dict[str, str | None] = {"chain": TOKEN.chain, "token_address": TOKEN.address, "interval": "5m"}
    checked = check_candles(page.rows, given, None)
    found = checked.table()
    assert page.row_count == len(rows)
    assert page.row_count == found.num_rows + checked.duplicates + checked.conflicts + len(checked.quarantined)
    return found.to_pylist(), [row.reason for row in checked.quarantined]


def test_volume_is_stored_in_base_units_so_that_times_close_it_is_what_was_traded(server: SourceServer) -> None:
    # 50 USD traded, close 0.0004: 125 000 units of the token.
    (candle,), refused = _checked(server, [START, 0.0005, 0.0006, 0.0003, 0.0004, 50.0])
    assert refused == []
    assert candle["volume"] == pytest.approx(125_000)
    assert candle["volume"] * candle["close"] == pytest.approx(50.0)  # type: ignore[operator]


def test_prices_survive_to_the_last_bit_as_number_and_as_text(server: SourceServer) -> None:
    price = 1.2345678901234567e-15
    found, _ = _checked(
        server, [START, price, price, price, price, 0], [START + STEP, *["1.2345678901234567E-15"] * 4, "0.0"]
    )
    assert [row["close"] for row in found] == [price, price]


def test_bad_rows_are_refused_one_by_one(server: SourceServer) -> None:
    good = gecko_rows(START, 1)[0]
    found, refused = _checked(
        server,
        good,
        [START + STEP, 1, 2, 0.5, None, 5],
        [START + 2 * STEP, 1, 2, 0.5, "abc", 5],
        [START + 3 * STEP, 1, 2, 0.5, 0, 5],
        [START + 4 * STEP, 1, 0.9, 0.5, 1, 5],
        [START + 5 * STEP, 1, 2, 0.5, float("nan"), 5],
        [START + 6 * STEP, 1, 2, 0.5, 1, float("inf")],
        [START + 7 * STEP, 1, 2, 0.5, 1, -5],
        [START + 7, 1, 2, 0.5, 1, 5],
        [START * 1000, 1, 2, 0.5, True, 5],
        [START + 8 * STEP, [1], {"a": 1}, 0.5, 1, 5],
        [START + 9 * STEP, 1, 2, 0.5, 1, "\ud800\x00"],
        [START + 10 * STEP, 1, 2, 0.5, 1, 10**400],
        [START + 11 * STEP, 1, 2],
        {"t": 1},
        None,
        "x" * 100_000,
    )
    assert [row["timestamp"] for row in found] == [START]
    assert len(refused) == 16


def test_recorded_rows_of_the_api_are_taken(server: SourceServer, shared_data: Path) -> None:
    """Values as they once came: prices as text with trailing zeros, all intervals, any order."""
    with gzip.open(shared_data / "candles_raw" / "geckoterminal" / "backups_ohlcv_data_data.json.gz", "rt") as stream:
        recorded = json.load(stream)
    asked = 0
    for interval in ("5m", "15m", "1h", "4h", "12h"):
        step = INTERVAL_SECONDS[interval]
        rows = [
            [row["timestamp"], *(row[f"{name}_price"] for name in ("open", "high", "low", "close")), row["volume_usd"]]
            for row in recorded
            if row["timeframe"] == interval and row["pool_id"] == recorded[0]["pool_id"]
        ][:900]
        if not rows:
            continue
        asked += 1
        first, last = min(row[0] for row in rows), max(row[0] for row in rows)
        server.queued = [gecko_candles(rows)]
        server.answer = lambda _request: gecko_candles([])
        page = _pages(server, last - 999 * step, last + step, interval, now=last + 30 * 86400)[0]
        given: dict[str, str | None] = {"chain": TOKEN.chain, "token_address": TOKEN.address, "interval": interval}
        checked = check_candles(page.rows, given, None)
        found = checked.table()
        assert found.num_rows + checked.duplicates + checked.conflicts + len(checked.quarantined) == len(rows)
        assert found.num_rows > 0.9 * len({row[0] for row in rows}), interval
        assert found["timestamp"][0].as_py() >= first
    assert asked >= 2


def test_empty_body_is_tried_again(server: SourceServer, api: FakeGeckoTerminal) -> None:
    api.candles[POOL] = gecko_rows(START, 1)
    server.queued = [Reply(body=b"")]
    assert _times(_pages(server, START, START + STEP)) == [START]
