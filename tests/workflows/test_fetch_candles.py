"""Fetching what calls need: what is missing, what is stored of it, and what a run that died leaves to the next."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sources.birdeye import Birdeye
from quantbot_pipeline.sources.client import RequestLimits
from quantbot_pipeline.sources.geckoterminal import GeckoTerminal
from quantbot_pipeline.storage.fetches import PostgresFetchLedger
from quantbot_pipeline.strategy.model import parse_strategy
from quantbot_pipeline.workflows.fetch_candles import (
    FetchPlan,
    FetchReport,
    TokenOutcome,
    fetch_candles,
    plan_fetch,
)
from tests.unit.sources.source_server import (
    KEY,
    FakeBirdeye,
    FakeGeckoTerminal,
    Reply,
    SourceServer,
    TestClock,
    gecko_rows,
    json_reply,
    pool,
    serving,
)
from tests.workflows.scene import Dying, Killed, Scene, alert, candle_rows

pytestmark = pytest.mark.server

TOKEN = TokenKey("solana", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
OTHER = TokenKey("solana", "So11111111111111111111111111111111111111112")
THIRD = TokenKey("solana", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB")
POOL = "4w2cysotX6czaUGmmWg13hDpY4QEMG2CzeKYEQyK9Ama"
STEP = 300
# 2025-10-01T00:00:00Z; the call is made two and a half minutes into a candle.
DAY = int(datetime(2025, 10, 1, tzinfo=UTC).timestamp())
CALLED = DAY + 10 * 3600 + 150
NOW = DAY + 60 * 86400
HOUR = 3600
# An hour before and an hour after the call: from 09:00 to the second candle after 11:00, which is the first one that
# opens at or after the end of the horizon and the one that a latency may lead to.
WINDOW = (DAY + 9 * HOUR, DAY + 11 * HOUR + 2 * STEP)
SLOTS = (WINDOW[1] - WINDOW[0]) // STEP


@pytest.fixture
def api() -> FakeGeckoTerminal:
    return FakeGeckoTerminal(pools={TOKEN.address: [pool(POOL, TOKEN.address)]}, candles={POOL: gecko_rows(DAY, 3000)})


@pytest.fixture
def server(api: FakeGeckoTerminal) -> Iterator[SourceServer]:
    with serving(api) as running:
        yield running


@pytest.fixture
def ledger(scene: Scene) -> Iterator[PostgresFetchLedger]:
    with PostgresFetchLedger(scene.urls.postgres) as opened:
        yield opened


class Fetching:
    """Plans and fetches against one server, again and again."""

    def __init__(self, scene: Scene, server: SourceServer, ledger: PostgresFetchLedger) -> None:
        self.scene = scene
        self.server = server
        self.ledger = ledger
        self.now: float = NOW

    def source(self) -> GeckoTerminal:
        return GeckoTerminal(
            base_url=self.server.url,
            clock=TestClock(self.now).clock,
            limits=RequestLimits(tries=2, read_seconds=1),
            jitter=random.Random(5),  # noqa: S311 - the same waits in every run
        )

    def plan(self, source: Any, **options: Any) -> FetchPlan:
        values: dict[str, Any] = {
            "since": datetime.fromtimestamp(DAY, UTC),
            "now": self.now,
            "warm_up_seconds": HOUR,
            "horizon_seconds": HOUR,
            **options,
        }
        return plan_fetch(source, self.scene.state, self.scene.history, self.ledger, **values)

    def run(
        self, *, state: Any = None, history: Any = None, ledger: Any = None, source: Any = None, **options: Any
    ) -> FetchReport:
        source = source or self.source()
        try:
            return fetch_candles(
                self.plan(source, **options),
                source,
                state or self.scene.state,
                history or self.scene.history,
                ledger or self.ledger,
            )
        finally:
            source.close()

    def stored(self, token: TokenKey = TOKEN) -> list[int]:
        rows = self.scene.history.load_candle_rows(token.chain, token.address, "5m", 0, 2**32 - 1)
        found: list[int] = rows["timestamp"].to_pylist()
        return found

    def candle_requests(self) -> list[tuple[int, int]]:
        """Return (before_timestamp, limit) of all requests for candles."""
        return [
            (int(request.query["before_timestamp"]), int(request.query["limit"]))
            for request in self.server.requests
            if "ohlcv" in request.path
        ]


@pytest.fixture
def fetching(scene: Scene, server: SourceServer, ledger: PostgresFetchLedger) -> Fetching:
    scene.call(alert(1, datetime.fromtimestamp(CALLED, UTC), token=TOKEN))
    return Fetching(scene, server, ledger)


def _only(report: FetchReport) -> TokenOutcome:
    (outcome,) = report.tokens
    assert outcome.received == outcome.stored + outcome.duplicates + outcome.quarantined + outcome.left_out
    return outcome


# --- what is asked for ---


def test_window_of_a_call_is_fetched_and_nothing_else(fetching: Fetching) -> None:
    outcome = _only(fetching.run())
    assert fetching.stored() == list(range(*WINDOW, STEP))
    assert (outcome.status, outcome.requested, outcome.stored, outcome.duplicates) == ("fetched", SLOTS, SLOTS, 0)
    # One for the pools, one for the candles; one candle more than fits is asked for.
    assert outcome.requests == 2
    assert fetching.candle_requests() == [(WINDOW[1], SLOTS + 1)]


def test_second_run_asks_for_nothing_and_stores_nothing(fetching: Fetching) -> None:
    fetching.run()
    sent = len(fetching.server.requests)
    outcome = _only(fetching.run())
    assert (outcome.status, outcome.requested, outcome.stored, outcome.requests) == ("complete", 0, 0, 0)
    assert len(fetching.server.requests) == sent
    assert len(fetching.stored()) == SLOTS


def test_window_in_which_nothing_was_traded_is_asked_for_once(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    api.candles[POOL] = []
    assert _only(fetching.run()).status == "fetched"
    assert _only(fetching.run()).status == "complete"
    assert len(fetching.candle_requests()) == 1
    assert fetching.scene.ask_state("select rows_received from fetched_ranges") == [(0,)]
    assert fetching.scene.ask_state("select count(*) from imports") == [(0,)]


def test_candles_that_are_stored_from_a_file_are_not_asked_for(fetching: Fetching) -> None:
    # 1 500 candles are between the two halves of the window: too many for one answer.
    early = CALLED - 1510 * STEP
    fetching.scene.call(alert(2, datetime.fromtimestamp(early, UTC), token=TOKEN))
    rows = candle_rows(TOKEN, datetime.fromtimestamp(WINDOW[0], UTC), SLOTS, interval="5m")
    times = list(range(*WINDOW, STEP))
    fetching.scene.history.insert_candles(rows.set_column(3, rows.schema.field(3), [times]))
    with_early = fetching.plan(fetching.source(), since=datetime.fromtimestamp(early, UTC))
    assert len(with_early.tokens[0].windows) == 2
    assert [part for part in with_early.tokens[0].missing if part[0] >= WINDOW[0]] == []


def test_windows_of_calls_that_touch_are_merged(fetching: Fetching) -> None:
    for number, minutes in enumerate((30, 90), start=2):
        moment = datetime.fromtimestamp(CALLED, UTC) + timedelta(minutes=minutes)
        fetching.scene.call(alert(number, moment, token=TOKEN))
    (token_plan,) = fetching.plan(fetching.source()).tokens
    assert token_plan.call_count == 3
    assert token_plan.windows == ((WINDOW[0], WINDOW[1] + 90 * 60),)


def test_holes_that_one_answer_fills_are_asked_for_together(fetching: Fetching) -> None:
    whole = list(range(*WINDOW, STEP))
    rows = candle_rows(TOKEN, datetime.fromtimestamp(WINDOW[0], UTC), 2, interval="5m")
    fetching.scene.history.insert_candles(rows.set_column(3, rows.schema.field(3), [[whole[0], whole[5]]]))
    (token_plan,) = fetching.plan(fetching.source()).tokens
    assert token_plan.missing == ((whole[1], WINDOW[1]),)
    outcome = _only(fetching.run())
    assert (outcome.stored, outcome.duplicates) == (SLOTS - 2, 1)


def test_calls_that_sell_ask_for_no_candles(fetching: Fetching) -> None:
    later = datetime.fromtimestamp(CALLED, UTC) + timedelta(days=3)
    fetching.scene.call(alert(2, later, token=TOKEN, side=Side.SELL, signal_type=SignalType.EXIT))
    (token_plan,) = fetching.plan(fetching.source()).tokens
    assert token_plan.call_count == 1


def test_strategies_say_how_far_and_a_day_is_the_default(fetching: Fetching) -> None:
    strategy = parse_strategy(
        {
            "name": "far",
            "version": "1",
            "entry": {"type": "immediate"},
            "exits": {"stop_loss": {"initial": 0.1}},
            "costs": {"latency_seconds": 10},
            "max_staleness_seconds": 600,
            "horizon_seconds": 7200,
        }
    )
    source = fetching.source()
    plan = fetching.plan(source, warm_up_seconds=None, horizon_seconds=None, strategies=[strategy])
    assert (plan.warm_up_seconds, plan.horizon_seconds) == (0, 7200 + 600 + 10)
    plan = fetching.plan(source, warm_up_seconds=None, horizon_seconds=None)
    assert (plan.warm_up_seconds, plan.horizon_seconds) == (86400, 86400)


def test_interval_that_the_source_does_not_have_is_refused(fetching: Fetching) -> None:
    with pytest.raises(InputError, match="geckoterminal has no '30m' candles; it has 1m, 5m"):
        fetching.plan(fetching.source(), interval="30m")


def test_candles_that_have_not_closed_are_never_stored(fetching: Fetching) -> None:
    """At 10:07 the candle of 10:05 is open, and the one of 10:00 closed two minutes ago."""
    opened = DAY + 10 * HOUR + STEP
    fetching.now = opened + 120
    outcome = _only(fetching.run())
    assert fetching.stored()[-1] == opened - STEP
    assert fetching.candle_requests()[0][0] == opened
    # The server gave no more than was asked for; one that does is not believed.
    assert outcome.left_out > 0
    fetching.now = NOW
    fetching.run()
    assert fetching.stored() == list(range(*WINDOW, STEP))
    # The rest alone: from where the first run ended.
    assert fetching.candle_requests()[-1] == (WINDOW[1], (WINDOW[1] - opened) // STEP + 1)


def test_open_candle_that_a_source_gives_all_the_same_is_left_out(fetching: Fetching) -> None:
    opened = DAY + 10 * HOUR + STEP
    fetching.now = opened + 120
    fetching.server.queued = [
        json_reply({"data": [pool(POOL, TOKEN.address)]}),
        json_reply({"data": {"attributes": {"ohlcv_list": gecko_rows(opened - STEP, 3)[::-1]}}}),
    ]
    outcome = _only(fetching.run())
    assert fetching.stored() == [opened - STEP]
    assert (outcome.stored, outcome.left_out) == (1, 2)


# --- what a run that died leaves ---


def _long(fetching: Fetching, api: FakeGeckoTerminal) -> tuple[int, int]:
    """Make the window 2 400 candles long, three pages, and return it."""
    api.candles[POOL] = gecko_rows(DAY - 3000 * STEP, 6000)
    fetching.now = NOW
    return (CALLED - 2000 * STEP) // STEP * STEP, (CALLED + 398 * STEP) // STEP * STEP + 2 * STEP


LONG = {"warm_up_seconds": 2000 * STEP, "horizon_seconds": 398 * STEP}


def test_run_killed_between_pages_is_taken_up_at_the_page_it_did_not_finish(
    fetching: Fetching, api: FakeGeckoTerminal
) -> None:
    start, end = _long(fetching, api)
    with pytest.raises(Killed):
        fetching.run(ledger=Dying(fetching.ledger, "complete_range", after=True), **LONG)
    assert len(fetching.stored()) == 1000
    sent = len(fetching.server.requests)
    outcome = _only(fetching.run(**LONG))
    assert fetching.stored() == list(range(start, end, STEP))
    # Only for the rest, and not for the pool again.
    before, _ = fetching.candle_requests()[1]
    assert before == end - 1000 * STEP
    assert len(fetching.server.requests) - sent == 2
    assert (outcome.stored, outcome.duplicates) == (1400, 0)


@pytest.mark.parametrize(
    ("store", "method", "after"),
    [
        ("state", "begin_import", False),
        ("state", "begin_import", True),
        ("history", "insert_candles", False),
        ("history", "insert_candles", True),
        ("state", "complete_import", False),
        ("state", "complete_import", True),
        ("ledger", "begin_range", True),
        ("ledger", "complete_range", False),
    ],
)
def test_wherever_a_run_dies_the_next_one_completes_it_and_counts_each_candle_once(
    store: str, method: str, after: bool, fetching: Fetching
) -> None:
    real = {"state": fetching.scene.state, "history": fetching.scene.history, "ledger": fetching.ledger}
    with pytest.raises(Killed):
        fetching.run(**{store: Dying(real[store], method, after=after)})
    _only(fetching.run())
    assert _only(fetching.run()).status == "complete"
    assert fetching.stored() == list(range(*WINDOW, STEP))
    assert fetching.scene.ask_state("select sum(rows_stored), bool_and(status = 'completed') from imports") == [
        (SLOTS, True)
    ]


def test_refused_rows_of_a_run_that_died_are_not_lost(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    """The good rows of the page were stored, so that nothing but its begun range tells that something is left."""
    api.candles[POOL] = [*gecko_rows(DAY, 3000), [WINDOW[0] + 7, 1, 2, 0.5, 1.5, 10]]
    with pytest.raises(Killed):
        fetching.run(history=Dying(fetching.scene.history, "insert_candles", after=True))
    assert fetching.scene.ask_state("select count(*) from quarantine") == [(0,)]
    _only(fetching.run())
    assert fetching.scene.ask_state("select raw_text from quarantine") == [(f"[{WINDOW[0] + 7}, 1, 2, 0.5, 1.5, 10]",)]
    assert fetching.scene.ask_state("select status, rows_read from imports") == [("completed", SLOTS + 1)]


def test_page_that_a_dead_run_began_is_asked_for_alone(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    start, end = _long(fetching, api)
    with pytest.raises(Killed):
        fetching.run(state=Dying(fetching.scene.state, "complete_import", after=False, survived=1), **LONG)
    (token_plan,) = fetching.plan(fetching.source(), **LONG).tokens
    assert token_plan.missing == ((start, end - 2000 * STEP), (end - 2000 * STEP, end - 1000 * STEP))
    _only(fetching.run(**LONG))
    assert fetching.stored() == list(range(start, end, STEP))
    assert fetching.scene.ask_state(
        "select sum(rows_stored), count(*), bool_and(status = 'completed') from imports"
    ) == [((end - start) // STEP, 3, True)]


def test_rows_that_come_again_over_the_border_of_pages_are_duplicates(
    fetching: Fetching, api: FakeGeckoTerminal
) -> None:
    start, end = _long(fetching, api)
    api.is_border_inclusive = True
    outcome = _only(fetching.run(**LONG))
    assert fetching.stored() == list(range(start, end, STEP))
    assert outcome.stored == (end - start) // STEP
    assert outcome.duplicates == 2


def test_rows_that_can_not_be_used_are_in_quarantine_and_the_sum_holds(
    fetching: Fetching, api: FakeGeckoTerminal
) -> None:
    good = WINDOW[0]
    api.candles[POOL] = [
        [good, 1, 2, 0.5, 1.5, 10],
        [good, 1, 2, 0.5, 1.5, 10],
        [good + STEP, 1, 0.9, 0.5, 1.5, 10],
        [good + 2 * STEP + 7, 1, 2, 0.5, 1.5, 10],
        [good + 3 * STEP, 1, 2, 0.5, "<b>x", 10],
        [good + 4 * STEP, 1, 1, 1, 1, 10],
        [good + 4 * STEP, 1, 1, 1, 1, None],
    ]
    outcome = _only(fetching.run())
    assert (outcome.received, outcome.stored, outcome.duplicates, outcome.quarantined) == (7, 2, 2, 3)
    # What files say of a candle beyond its numbers, pages do too: the volume of the last one was missing.
    assert fetching.scene.ask_history("select flags from ohlcv_candles final order by timestamp") == [(0,), (1,)]
    assert fetching.scene.ask_state("select details_json ->> 'conflict_count' from imports") == [("1",)]
    found = fetching.scene.ask_state("select file, field, raw_text from quarantine order by field, raw_text")
    assert [row[1] for row in found] == ["close", "high", "timestamp"]
    assert found[0][0] == f"geckoterminal:solana:{POOL}:5m"
    assert "<b>x" in found[0][2]


# --- pools ---


def test_pool_that_was_chosen_stays_when_another_becomes_more_liquid(
    fetching: Fetching, api: FakeGeckoTerminal
) -> None:
    fetching.run()
    api.pools[TOKEN.address].insert(0, pool("richer", TOKEN.address, reserve="99999999"))
    fetching.scene.call(alert(2, datetime.fromtimestamp(CALLED + 86400, UTC), token=TOKEN))
    _only(fetching.run())
    assert {request.path.split("/")[4] for request in fetching.server.requests if "ohlcv" in request.path} == {POOL}
    assert fetching.scene.ask_state("select source, pool_address, side from token_pools") == [
        ("geckoterminal", POOL, "base")
    ]


def test_pool_made_after_the_first_call_is_told(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    api.pools[TOKEN.address] = [pool(POOL, TOKEN.address, created="2025-10-02T00:00:00Z")]
    assert "2025-10-02T00:00:00Z, after the first call" in _only(fetching.run()).note


# --- failures ---


def _three_tokens(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    for number, token in enumerate((OTHER, THIRD), start=2):
        fetching.scene.call(alert(number, datetime.fromtimestamp(CALLED, UTC), token=token))
        api.pools[token.address] = [pool(f"Pool{number}", token.address)]
        api.candles[f"Pool{number}"] = gecko_rows(DAY, 3000)


def test_failure_costs_its_token_alone(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    _three_tokens(fetching, api)
    del api.candles["Pool2"]
    report = fetching.run()
    by_token = {outcome.token: outcome for outcome in report.tokens}
    assert {token: outcome.status for token, outcome in by_token.items()} == {
        TOKEN: "fetched",
        OTHER: "failed",
        THIRD: "fetched",
    }
    assert "pools/Pool2/ohlcv" in by_token[OTHER].reason
    assert [outcome.token for outcome in report.failed] == [OTHER]
    # The next run asks for the one that failed, and for nothing else.
    api.candles["Pool2"] = gecko_rows(DAY, 3000)
    sent = len(fetching.server.requests)
    assert fetching.run().failed == []
    assert len(fetching.server.requests) == sent + 1
    assert fetching.stored(OTHER) == list(range(*WINDOW, STEP))


def test_pages_before_a_failure_stay_stored(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    start, end = _long(fetching, api)
    answer = fetching.server.answer
    fetching.server.answer = lambda request: answer(request) if len(fetching.candle_requests()) < 3 else Reply(500)
    outcome = _only(fetching.run(**LONG))
    assert (outcome.status, outcome.stored) == ("failed", 2000)
    fetching.server.answer = answer
    assert _only(fetching.run(**LONG)).stored == (end - start) // STEP - 2000


def test_source_that_is_down_is_not_asked_for_every_token(fetching: Fetching, api: FakeGeckoTerminal) -> None:
    _three_tokens(fetching, api)
    fourth = TokenKey("base", "0x6982508145454ce325ddbe47a25d4ec3d2311933")
    fetching.scene.call(alert(9, datetime.fromtimestamp(CALLED, UTC), token=fourth))
    fetching.server.answer = lambda _request: Reply(503)
    report = fetching.run()
    assert [outcome.status for outcome in report.tokens] == ["failed"] * 3 + ["not tried"]
    assert len(fetching.server.requests) == 3 * 2
    assert "nothing came for 3 tokens" in report.tokens[-1].reason


def test_chain_that_the_source_does_not_know_is_no_failure(fetching: Fetching) -> None:
    fetching.scene.call(alert(2, datetime.fromtimestamp(CALLED, UTC)))
    report = fetching.run()
    assert [outcome.status for outcome in report.tokens] == ["not served", "fetched"]
    assert report.failed == []


# --- the key ---


def _everything_stored(scene: Scene) -> str:
    with psycopg.connect(scene.urls.postgres) as connection:
        names = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        return "\n".join(
            str(row)
            for (name,) in names
            for row in connection.execute(sql.SQL("select t::text from {} as t").format(sql.Identifier(name)))
        )


def test_key_is_in_no_stored_row_also_when_the_server_repeats_it(
    scene: Scene, ledger: PostgresFetchLedger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    scene.call(alert(1, datetime.fromtimestamp(CALLED, UTC), token=TOKEN))
    scene.call(alert(2, datetime.fromtimestamp(CALLED, UTC), token=OTHER))
    items = [{"unixTime": WINDOW[0], "o": 1, "h": 2, "l": 0.5, "c": f"your key is {KEY}", "v": 1}]
    with serving(FakeBirdeye()) as server:
        server.queued = [
            json_reply({"success": True, "data": {"items": items}}),
            json_reply({"success": False, "message": f"{KEY} has no credits left"}, 401),
        ]
        source = Birdeye(SecretStr(KEY), base_url=server.url, clock=TestClock(NOW).clock)
        report = Fetching(scene, server, ledger).run(source=source)
        assert all(request.headers["x-api-key"] == KEY for request in server.requests)
    assert [outcome.status for outcome in report.tokens] == ["fetched", "failed"]
    assert "credits left" in report.tokens[1].reason
    stored = _everything_stored(scene)
    assert "your key is ***" in stored
    assert KEY not in stored
    assert KEY not in repr(report)
    assert KEY not in caplog.text


def test_source_that_lets_us_in_for_no_token_is_asked_once(scene: Scene, ledger: PostgresFetchLedger) -> None:
    for number, token in enumerate((TOKEN, OTHER, THIRD), start=1):
        scene.call(alert(number, datetime.fromtimestamp(CALLED, UTC), token=token))
    with serving(FakeBirdeye()) as server:
        source = Birdeye(SecretStr("wrong-key"), base_url=server.url, clock=TestClock(NOW).clock)
        report = Fetching(scene, server, ledger).run(source=source)
        assert len(server.requests) == 1
    assert [outcome.status for outcome in report.tokens] == ["failed", "not tried", "not tried"]
