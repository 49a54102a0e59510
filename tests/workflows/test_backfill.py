"""Backfills: only what is stale is computed, one failure costs no neighbour, two at once do the work once."""

import multiprocessing
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.errors import InputError, ServerError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows import backfill as module
from quantbot_pipeline.workflows import backfill_plan, run_simulations
from quantbot_pipeline.workflows import simulate_together as together
from quantbot_pipeline.workflows.backfill import (
    BackfillCounts,
    BackfillListener,
    MonthOutcome,
    explain_backfill,
    run_backfill,
)
from quantbot_pipeline.workflows.backfill_records import begin_backfill, record_months, select_backfill
from quantbot_pipeline.workflows.backfill_selection import Selection
from quantbot_pipeline.workflows.run_identity import events_digest
from quantbot_pipeline.workflows.run_simulations import RunRequest
from quantbot_pipeline.workflows.token_months import TokenMonth
from tests.workflows.scene import (
    BONK,
    MARCH,
    MINUTE,
    PEPE,
    Dying,
    Killed,
    Scene,
    Urls,
    alert,
    candle_rows,
    plan_backtests,
)

pytestmark = pytest.mark.server

FEBRUARY_LAST_HOUR = MARCH - timedelta(hours=1)
APRIL = MARCH + timedelta(days=31)
HOUR = 60 * MINUTE
RESULTS = """
    select r.run_key, r.status, r.superseded_by is null, r.events_digest, s.final_pnl, s.trade_count
    from simulation_runs r left join simulation_results_summary s on s.simulation_run_id = r.id order by r.run_key
"""


def four_token_months(scene: Scene) -> None:
    """Two tokens with two hours of candles and two calls at the beginning of March and of April each, two strategies.

    At 23:55 of March 31 the last call of March is made, whose ten minutes end in April.
    """
    number = 0
    for token in (BONK, PEPE):
        scene.history.insert_candles(candle_rows(token, MARCH, 120))
        scene.history.insert_candles(candle_rows(token, APRIL - HOUR, 180))
        for instant in (MARCH + 3 * MINUTE, APRIL - 5 * MINUTE, APRIL + 30 * MINUTE, APRIL + 60 * MINUTE):
            number += 1
            scene.call(alert(number, instant, token=token))
    scene.strategy("first", horizon_seconds=600)
    scene.strategy("second", horizon_seconds=300, exits={})


def keys(scene: Scene) -> list[TokenMonth]:
    return list(select_backfill(Selection(), scene.state).keys)


class Told:
    """What a backfill told of token-months."""

    def __init__(self) -> None:
        self.outcomes: dict[TokenMonth, MonthOutcome] = {}

    def __call__(self, outcomes: Sequence[MonthOutcome]) -> None:
        for outcome in outcomes:
            assert outcome.key not in self.outcomes
            self.outcomes[outcome.key] = outcome

    def computed(self) -> set[tuple[str, str]]:
        return {(key.token.address[:4], key.month) for key, outcome in self.outcomes.items() if outcome.computed}


def fill(scene: Scene, *, state: Any = None, history: Any = None, **options: Any) -> tuple[BackfillCounts, Told]:
    told = Told()
    counts = run_backfill(
        keys(scene),
        scene.state.load_strategies(),
        state or scene.state,
        history or scene.history,
        listener=BackfillListener(on_months=told),
        **options,
    )
    assert set(told.outcomes) == set(keys(scene))
    assert counts.done == counts.total
    return counts, told


def why(scene: Scene) -> dict[str, int]:
    runs = explain_backfill(keys(scene), scene.state.load_strategies(), scene.state, scene.history)
    return dict(Counter(str(run.staleness) for run in runs))


def results(scene: Scene) -> str:
    return repr(scene.ask_state(RESULTS))


class Watched:
    """A store that notes which of its methods were called, and does something before one of them."""

    def __init__(self, store: Any, before: Callable[[str, tuple[Any, ...]], None] = lambda *_: None) -> None:
        self._store = store
        self._before = before
        self.called: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*values: Any, **named: Any) -> Any:
            self.called[name] += 1
            self._before(name, values)
            return method(*values, **named)

        return call


# --- what is computed ---


def test_a_backfill_computes_once_and_then_reads_no_candle(scene: Scene) -> None:
    four_token_months(scene)
    assert why(scene) == {"never run": 8}
    counts, told = fill(scene)
    assert (counts.computed, counts.reused, counts.failed) == (8, 0, 0)
    # March: one call at once and one at its end; April: two. Both strategies buy at once.
    assert {outcome.trade_count for outcome in told.outcomes.values()} == {4}
    rows = results(scene)

    watched = Watched(scene.history)
    again, told = fill(scene, history=watched)
    assert (again.computed, again.reused, again.new_events) == (0, 8, 0)
    assert {outcome.trade_count for outcome in told.outcomes.values()} == {4}
    assert watched.called["load_candles"] == 0
    assert (results(scene), why(scene)) == (rows, {"up to date": 8})


def test_runs_of_a_backfill_are_those_that_are_planned_one_by_one(scene: Scene) -> None:
    four_token_months(scene)
    requests = plan_backtests(keys(scene), scene.state.load_strategies(), scene.state, scene.history)
    run_simulations.run_simulations(requests, scene.state, scene.history)
    before = results(scene)
    # What they read was not noted then: it is read once, and the runs are the same.
    assert why(scene) == {"inputs unknown": 8}
    counts, _ = fill(scene)
    assert (counts.computed, counts.reused) == (0, 8)
    assert (results(scene), why(scene)) == (before, {"up to date": 8})


def test_calls_that_a_month_reads_of_another_are_reported_by_that_one_alone(scene: Scene) -> None:
    """Both months of a token are simulated together, and April reads the last call of March, which blocks its first."""
    four_token_months(scene)
    scene.call(alert(50, APRIL + 10 * MINUTE))
    row = scene.strategy("skipping", overlap="skip", horizon_seconds=1800, exits={})
    fill(scene)
    requests = plan_backtests(keys(scene), [row], scene.state, scene.history)
    assert any(len(request.inputs[0].calls) > len(request.inputs[0].reported_call_ids) for request in requests)
    stored = scene.ask_state(
        f"select token_id, window_start, id, events_digest from simulation_runs where strategy_id = {row.strategy_id}"  # noqa: S608 - a number
    )
    digests = {(token_id, start): (run_id, digest) for token_id, start, run_id, digest in stored}
    assert len(digests) == len(requests) == 4
    for request in requests:
        run_id, digest = digests[request.token_id, request.window_start]
        [part] = request.inputs
        found = simulate_reference(part.candles, part.calls, request.strategy, report_call_ids=part.reported_call_ids)
        events = run_simulations._with_run_columns(events_to_arrow(found), run_id, part.token)
        assert digest == events_digest(events)
        assert {event["call_id"] for event in events.to_pylist()} == part.reported_call_ids


@pytest.mark.parametrize(
    ("changed_at", "computed"),
    [
        # The first minutes of March: read by March alone.
        (MARCH + 4 * MINUTE, {("BONK", "2025-03")}),
        # Behind the horizons of March, before the calls of April: read by nobody, though the months have changed.
        (APRIL + 20 * MINUTE, set()),
        # A minute after the month's end the trade of its last call is open: March alone reads it.
        (APRIL + MINUTE, {("BONK", "2025-03")}),
        (APRIL + 33 * MINUTE, {("BONK", "2025-04")}),
    ],
)
def test_new_candles_of_a_token_make_those_of_its_months_anew_that_read_them(
    scene: Scene, changed_at: Any, computed: set[tuple[str, str]]
) -> None:
    four_token_months(scene)
    fill(scene)
    scene.history.insert_candles(candle_rows(BONK, changed_at, 1, scale=1.02))
    counts, told = fill(scene)
    assert told.computed() == computed
    assert counts.reused + counts.computed == 8
    assert why(scene) == {"up to date": 8}


def test_candles_before_a_month_are_read_by_what_warms_up_on_them(scene: Scene) -> None:
    four_token_months(scene)
    scene.history.insert_candles(candle_rows(BONK, FEBRUARY_LAST_HOUR, 60))
    sma = {"indicator": "sma", "params": {"period": 20}}
    scene.strategy("third", exits={"when": {"left": {"candle": "close"}, "op": ">", "right": sma}})
    fill(scene)
    # sma(20) at 00:02 reaches back to 23:43.
    scene.history.insert_candles(candle_rows(BONK, MARCH - 10 * MINUTE, 1, scale=1.02))
    counts, told = fill(scene)
    assert (told.computed(), counts.computed) == ({("BONK", "2025-03")}, 1)
    scene.history.insert_candles(candle_rows(BONK, MARCH - 30 * MINUTE, 1, scale=1.02))
    assert fill(scene)[0].computed == 0


def test_a_changed_strategy_makes_its_runs_anew_and_a_new_engine_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    four_token_months(scene)
    fill(scene)
    scene.strategy("second", version="2", horizon_seconds=240, exits={})
    assert why(scene) == {"up to date": 4, "changed strategy": 4}
    assert fill(scene)[0].computed == 4
    for place in (backfill_plan, run_simulations):
        monkeypatch.setattr(place, "ENGINE_VERSION", "another")
    assert why(scene) == {"new engine version": 8}
    counts, _ = fill(scene)
    assert (counts.computed, counts.why["new engine version"]) == (8, 8)  # type: ignore[index]
    assert why(scene) == {"up to date": 8}


def test_a_new_call_makes_its_month_anew(scene: Scene) -> None:
    four_token_months(scene)
    fill(scene)
    scene.call(alert(99, MARCH + 50 * MINUTE, token=PEPE))
    assert why(scene) == {"up to date": 6, "new data": 2}
    assert fill(scene)[1].computed() == {("PEPE", "2025-03")}


def test_data_that_comes_back_makes_the_old_run_current_without_computing(scene: Scene) -> None:
    four_token_months(scene)
    fill(scene)
    before = scene.ask_state("select id from simulation_runs where superseded_by is null order by id")
    for scale in (1.02, 1.0):
        rows = candle_rows(BONK, MARCH, 120, scale=scale)
        scene.history.insert_candles(rows)
        counts, _ = fill(scene)
        assert (counts.computed, counts.reused) == ((2, 6) if scale != 1.0 else (0, 8))
    assert scene.ask_state("select id from simulation_runs where superseded_by is null order by id") == before


def test_candles_that_come_while_others_are_read_leave_no_stamp(scene: Scene) -> None:
    """What was read may be neither what was stamped before nor what is stored after."""
    four_token_months(scene)

    def import_meanwhile(method: str, _: Any) -> None:
        if method == "load_candles":
            scene.history.insert_candles(candle_rows(BONK, MARCH, 120, scale=1.01))

    fill(scene, history=Watched(scene.history, import_meanwhile))
    assert why(scene) == {"inputs unknown": 4, "up to date": 4}
    fill(scene)
    assert why(scene) == {"up to date": 8}


def test_forcing_computes_everything_and_gives_the_same_rows(scene: Scene) -> None:
    four_token_months(scene)
    fill(scene)
    before = results(scene)
    counts, _ = fill(scene, force=True, jobs=2)
    assert (counts.computed, results(scene)) == (8, before)


def test_batches_of_any_size_give_the_same_rows(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    four_token_months(scene)
    fill(scene)
    before = results(scene)
    scene.empty()
    four_token_months(scene)
    # A token-month has some 120 candles and two runs: each is a batch, and a token is more than one plan.
    monkeypatch.setattr(module, "CANDLES_PER_BATCH", 50)
    monkeypatch.setattr(module, "TOKEN_MONTHS_PER_PLAN", 1)
    watched = Watched(scene.history)
    counts, _ = fill(scene, history=watched)
    assert (counts.computed, watched.called["insert_events"]) == (8, 4)
    assert results(scene) == before


@pytest.mark.parametrize("step_count", [3, pytest.param(40, marks=pytest.mark.deep)])
def test_what_is_computed_after_random_imports_is_what_reads_otherwise(scene: Scene, step_count: int) -> None:
    """Candles and calls come anywhere: computed are exactly the runs whose key was never seen before."""
    random = Random(20250301)  # noqa: S311 - test cases, no secrets
    four_token_months(scene)
    sma = {"indicator": "sma", "params": {"period": 20}}
    scene.strategy(
        "third", exits={"when": {"left": {"candle": "close"}, "op": ">", "right": sma}, "on_exit_call": True}
    )
    scene.strategy("fourth", overlap="skip", horizon_seconds=1800)
    strategies = scene.state.load_strategies()
    seen: set[tuple[Any, str]] = set()
    stale_and_computed = Counter[str]()
    for step in range(step_count):
        requests = plan_backtests(keys(scene), strategies, scene.state, scene.history)
        wanted = {(place_of(request), request.inputs[0].fingerprint) for request in requests}
        expected = wanted - seen
        runs = explain_backfill(keys(scene), strategies, scene.state, scene.history)
        stale = {(run.key, run.strategy.row.name) for run in runs if run.staleness != "up to date"}
        # Whatever reads otherwise is known to be stale before any candle was read.
        assert {place for place, _ in expected} <= stale
        counts, _ = fill(scene)
        assert counts.computed == len(expected), step
        stale_and_computed.update(stale=len(stale), computed=len(expected))
        seen |= wanted
        assert scene.ask_state("select count(*) from simulation_runs") == [(len(seen),)]
        assert why(scene) == {"up to date": len(wanted)}
        _import_something(scene, random, step)
    # The test is worth something: some steps changed what is read, and not all of it.
    assert 16 < stale_and_computed["computed"] < step_count * 16


def place_of(request: RunRequest) -> tuple[TokenMonth, str]:
    """Return the token-month and the strategy of a request."""
    key = TokenMonth(request.inputs[0].token, f"{request.window_start:%Y-%m}")
    return key, request.strategy_row.name


def _import_something(scene: Scene, random: Random, step: int) -> None:
    token: TokenKey = random.choice([BONK, PEPE])
    begin = random.choice([FEBRUARY_LAST_HOUR, MARCH, APRIL - HOUR, APRIL]) + random.randrange(90) * MINUTE
    if step % 3 == 2:
        kind, side = random.choice([(SignalType.ENTRY, Side.BUY), (SignalType.EXIT, Side.SELL)])
        scene.call(alert(1000 + step, begin, token=token, signal_type=kind, side=side))
    else:
        count = random.choice([1, 10, 60])
        scene.history.insert_candles(candle_rows(token, begin, count, scale=random.choice([0.9, 1.1])))


# --- what fails ---


def test_candles_that_can_not_be_read_cost_only_their_token(scene: Scene) -> None:
    four_token_months(scene)

    def refuse_pepe(method: str, values: tuple[Any, ...]) -> None:
        if method == "load_candles" and PEPE in values[0]:
            raise ValueError("a block is broken")

    counts, told = fill(scene, history=Watched(scene.history, refuse_pepe))
    assert (counts.computed, counts.failed, counts.months_failed) == (4, 4, 2)
    for key, outcome in told.outcomes.items():
        if key.token == PEPE:
            assert outcome.reason == (
                "first: candles can't be read: ValueError: a block is broken; "
                "second: candles can't be read: ValueError: a block is broken"
            )
        else:
            assert outcome.reason is None
    assert fill(scene)[0].computed == 4


def test_a_candle_that_breaks_a_rule_costs_only_the_runs_that_read_it(scene: Scene) -> None:
    four_token_months(scene)
    # The low above the high, past every import: as a broken disk or another program would leave it.
    scene.change_history(
        "insert into ohlcv_candles (chain, token_address, interval, timestamp, open, high, low, close, volume) "  # noqa: S608 - the test's own text
        f"values ('binance', 'BONK_USDT', '1m', toDateTime({int(MARCH.timestamp()) + 240}, 'UTC'), 1, 1, 2, 1, 1)"
    )
    counts, _ = fill(scene)
    assert (counts.computed, counts.failed) == (6, 2)
    [(key, reason)] = counts.failures
    assert key == TokenMonth(BONK, "2025-03")
    assert "binance:BONK_USDT" in reason
    assert "low <= min(open, close)" in reason


def test_a_run_that_can_not_be_simulated_costs_no_other(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    four_token_months(scene)
    iterate_runs = together.iterate_runs
    pepes = {call.call_id for call in scene.state.load_calls(tokens=[PEPE])}

    def refuse_pepe(markets: Any, strategies: Any, **options: Any) -> Any:
        if strategies[0].name == "first" and any(call.call_id in pepes for call in markets.calls):
            raise ZeroDivisionError("a price was 0")
        return iterate_runs(markets, strategies, **options)

    monkeypatch.setattr(together, "iterate_runs", refuse_pepe)
    counts, _ = fill(scene)
    assert (counts.computed, counts.failed, counts.months_failed) == (6, 2, 2)
    assert all("ZeroDivisionError: a price was 0" in reason for _, reason in counts.failures)
    monkeypatch.undo()
    assert why(scene) == {"up to date": 6, "failed": 2}
    assert fill(scene)[0].computed == 2


def test_rows_that_a_database_refuses_cost_only_their_run(scene: Scene) -> None:
    four_token_months(scene)

    def refuse(method: str, values: tuple[Any, ...]) -> None:
        if method == "complete_runs" and any(summary.run_id == 3 for summary in values[0]):
            raise module.DataError("a number is out of range")

    counts, _ = fill(scene, state=Watched(scene.state, refuse))
    assert (counts.computed, counts.failed) == (7, 1)
    assert scene.ask_state("select id, status from simulation_runs where status <> 'completed'") == [(3, "failed")]


def test_a_lost_server_ends_the_backfill_and_what_was_finished_is_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    four_token_months(scene)
    monkeypatch.setattr(module, "CANDLES_PER_BATCH", 50)
    inserts = Counter[str]()

    def lose(method: str, _: Any) -> None:
        inserts[method] += 1
        if method == "insert_events" and inserts[method] == 3:
            raise ServerError("ClickHouse does not answer")

    with pytest.raises(ServerError):
        fill(scene, history=Watched(scene.history, lose))
    done = scene.ask_state("select count(*) from simulation_runs where status = 'completed'")
    assert done == [(4,)]
    counts, _ = fill(scene)
    assert (counts.computed, counts.reused) == (4, 4)


@pytest.mark.parametrize(("where", "method"), [("history", "insert_aggregates"), ("state", "stamp_runs")])
def test_a_kill_shows_no_half_run_and_is_healed_by_the_next_backfill(scene: Scene, where: str, method: str) -> None:
    four_token_months(scene)
    stores: dict[str, Any] = {where: Dying(getattr(scene, where), method, after=True)}
    with pytest.raises(Killed):
        fill(scene, **stores)
    counts, _ = fill(scene)
    assert counts.computed + counts.reused == 8
    assert scene.ask_state("select distinct status from simulation_runs") == [("completed",)]
    assert why(scene) == {"up to date": 8}


# --- going on ---


def test_a_resumed_backfill_comes_to_what_failed_or_never_came(scene: Scene) -> None:
    four_token_months(scene)
    selection = Selection.of(["binance:*"])
    with pytest.raises(InputError, match="no backfill of this selection"):
        select_backfill(selection, scene.state, resume=True)
    selected = select_backfill(selection, scene.state)
    backfill_id = begin_backfill(selected, scene.state)
    bonk_march, bonk_april, pepe_march, pepe_april = selected.keys

    def outcome(key: TokenMonth, *failures: str) -> MonthOutcome:
        return MonthOutcome(key, 1, 0, failures, 0, 0, None)

    record_months(backfill_id, [outcome(bonk_march), outcome(bonk_april, "no room"), outcome(pepe_march)], scene.state)
    resumed = select_backfill(selection, scene.state, resume=True)
    assert (resumed.keys, resumed.done, resumed.backfill_id) == ((bonk_april, pepe_april), 2, backfill_id)
    # Another selection is another backfill.
    with pytest.raises(InputError):
        select_backfill(Selection.of(["binance:BONK_USDT"]), scene.state, resume=True)
    assert begin_backfill(resumed, scene.state) == backfill_id
    record_months(backfill_id, [outcome(bonk_april), outcome(pepe_april)], scene.state)
    assert select_backfill(selection, scene.state, resume=True).keys == ()


# --- two at once ---


def _fill_by_itself(urls: Urls, ready: Any, answers: Any) -> None:
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        selected = select_backfill(Selection(), state)
        ready.wait(60)
        counts = run_backfill(selected.keys, selected.strategies, state, history)
        answers.put((counts.computed, counts.reused, counts.failed))


@pytest.mark.parametrize("apart", ["by sessions", pytest.param("by processes", marks=pytest.mark.deep)])
def test_two_backfills_of_the_same_at_once_do_the_work_once(scene: Scene, apart: str) -> None:
    """What they hold belongs to sessions of Postgres, so two threads with stores of their own are as far apart."""
    four_token_months(scene)
    context = multiprocessing.get_context("spawn")
    ready: Any = threading.Barrier(2) if apart == "by sessions" else context.Barrier(2)
    answers: Any = queue.Queue() if apart == "by sessions" else context.Queue()
    begin: Any = threading.Thread if apart == "by sessions" else context.Process
    workers = [begin(target=_fill_by_itself, args=(scene.urls, ready, answers), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(20)
    assert sum(computed for computed, _, _ in found) == 8
    assert sorted(computed + reused for computed, reused, _ in found) == [8, 8]
    assert scene.ask_state("select count(*), max(attempt) from simulation_runs") == [(8, 1)]
    duplicates = "select count() - uniqExact(simulation_run_id, call_id, seq) from simulation_events"
    assert scene.ask_history(duplicates) == [(0,)]


def test_who_waits_reads_again_what_may_have_changed_meanwhile(scene: Scene) -> None:
    four_token_months(scene)
    told, waits, counts = [], threading.Event(), []

    def other() -> None:
        def on_message(message: str) -> None:
            told.append(message)
            waits.set()

        with PostgresStore(scene.urls.postgres) as state, ClickHouseStore(scene.urls.clickhouse) as history:
            listener = BackfillListener(on_message=on_message)
            counts.append(run_backfill(keys(scene), state.load_strategies(), state, history, listener=listener))

    thread = threading.Thread(target=other)
    with scene.state.exclusive_runs([run_simulations.token_lock_name(BONK)]):
        thread.start()
        assert waits.wait(60)
        # Read before, and out of date now: a run of it would take the place of a newer one.
        scene.history.insert_candles(candle_rows(BONK, MARCH, 120, scale=1.05))
    thread.join(60)
    assert told[-1].startswith("waiting for another process")
    assert counts[0].computed == 8
    assert why(scene) == {"up to date": 8}
