"""Calls derived from stored alerts, again and again: by rules, aliases and candles, without losing history."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import InputError, IntegrityError
from quantbot_pipeline.ingest.calls import CallPolicy, CallRules
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.records import AlertRow, CallerKey, NewCall
from quantbot_pipeline.workflows.callers import find_caller, remove_alias, set_alias
from quantbot_pipeline.workflows.derive_calls import Derivation, choose_rules, derive_calls
from quantbot_pipeline.workflows.run_simulations import RunStatus, run_simulations
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, alert, candle_rows
from tests.workflows.stored_features import store_features

pytestmark = pytest.mark.server

FIRST = CallRules(policy=CallPolicy.FIRST)
EVERY = CallRules()
ADDRESS = "0x" + "ab" * 20
OPEN = TokenKey("unknown-evm", ADDRESS)
CALLS = (
    "select c.id, a.content_key, t.chain, h.handle, c.is_active, c.inactive_reason from calls c "
    "join alerts a on a.id = c.alert_id join tokens t on t.id = c.token_id join callers h on h.id = c.caller_id "
    "order by c.id"
)


def derive(scene: Scene, rules: CallRules | None = None) -> Derivation:
    return derive_calls(scene.state, scene.history, rules)


def said(scene: Scene, number: int, minute: int, handle: str = "anna", **changes: Any) -> None:
    scene.state.store_alerts(
        [alert(number, MARCH + minute * MINUTE, caller=CallerKey("file", handle), **changes)], None
    )


def active_minutes(scene: Scene) -> list[int]:
    return [int((call.signal_timestamp - MARCH) / MINUTE) for call in scene.state.load_calls()]


# --- rules ---


def test_deriving_twice_changes_nothing_not_even_a_time(scene: Scene) -> None:
    for number in range(3):
        said(scene, number, number)
    first = derive(scene)
    rows = scene.ask_state("select * from calls order by id"), scene.ask_state("select * from call_derivations")
    again = derive(scene)
    assert (first.counts.new, again.counts.new, again.counts.changed) == (3, 0, 0)
    assert (
        scene.ask_state("select * from calls order by id"),
        scene.ask_state("select * from call_derivations"),
    ) == rows


def test_calls_that_a_rule_makes_no_more_stay_and_come_back_under_their_ids(scene: Scene) -> None:
    for number in range(3):
        said(scene, number, number)
    derive(scene)
    before = scene.ask_state(CALLS)
    counts = derive(scene, FIRST).counts
    assert (counts.new, counts.deactivated, counts.active, counts.inactive) == (0, 2, 1, 2)
    assert active_minutes(scene) == [0]
    assert scene.state.read("counts/count_state").to_pylist()[0]["calls"] == 3
    counts = derive(scene, EVERY).counts
    assert (counts.new, counts.reactivated, counts.active) == (0, 2, 3)
    assert scene.ask_state(CALLS) == before


def test_the_rules_of_the_last_derivation_stay_in_force_for_imports(scene: Scene) -> None:
    said(scene, 0, 0)
    derive(scene, FIRST)
    said(scene, 1, 1)
    assert derive(scene).rules == FIRST
    assert active_minutes(scene) == [0]


def test_options_win_over_settings_and_these_over_what_is_in_force(scene: Scene) -> None:
    derive(scene, CallRules(policy=CallPolicy.FIRST, cool_down_seconds=60, repetition_seconds=60))
    settings = load_settings(calls_cool_down="1h", calls_repetition="2h")
    chosen = choose_rules(scene.state, settings, repetition_seconds=7)
    assert chosen == CallRules(policy=CallPolicy.FIRST, cool_down_seconds=3600, repetition_seconds=7)


def test_an_older_alert_that_is_imported_later_becomes_the_first(scene: Scene) -> None:
    said(scene, 1, 10)
    derive(scene, FIRST)
    said(scene, 2, 5)
    derive(scene)
    assert active_minutes(scene) == [5]


def test_derivations_at_once_make_each_call_once(scene: Scene) -> None:
    for number in range(200):
        said(scene, number, number)
    barrier = threading.Barrier(3)

    def work(_: int) -> int:
        barrier.wait()
        return derive(scene).counts.new

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(work, range(3))) == [0, 0, 200]


def test_a_derivation_waits_for_another_and_reads_the_alerts_after_it(scene: Scene) -> None:
    """One that had read the alerts before an import overwrote what a later one made of them all."""
    said(scene, 1, 10)
    is_reading, may_go_on = threading.Event(), threading.Event()

    def derive_slowly(rows: Sequence[AlertRow]) -> list[NewCall]:
        is_reading.set()
        assert may_go_on.wait(20)
        return [
            NewCall(row.alert_id, row.token_id, row.caller_id, row.side, row.signal_type, None, row.alert_timestamp, {})
            for row in rows
        ]

    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(scene.state.derive_calls, {}, derive_slowly)
        assert is_reading.wait(20)
        said(scene, 2, 5)
        quick = pool.submit(derive, scene, FIRST)
        deadline = time.monotonic() + 10
        while scene.ask_state(waiting) == [(0,)] and not quick.done() and time.monotonic() < deadline:
            pass
        was_done = quick.done()
        may_go_on.set()
        slow.result(20)
        quick.result(20)
    assert not was_done
    assert active_minutes(scene) == [5]


def test_a_rule_that_loses_an_alert_is_found_out(scene: Scene) -> None:
    said(scene, 0, 0)
    with pytest.raises(IntegrityError, match="1 alerts gave 0 calls"):
        scene.state.derive_calls({}, lambda _: [])
    assert scene.ask_state("select count(*) from calls") == [(0,)]


def test_strength_and_what_it_is_made_of_are_stored(scene: Scene) -> None:
    said(scene, 0, 0, "anna", confidence=0.6)
    said(scene, 1, 1, "bert", confidence=0.6)
    derive(scene)
    rows = scene.ask_state("select signal_strength, metadata_json from calls order by id")
    assert [round(strength, 9) for strength, _ in rows] == [0.6, 0.8]
    assert rows[1][1] == {"confidence": 0.6, "callers_before": 1, "alerts_before": 1, "repetition_seconds": 86400}


# --- runs ---


def simulate(scene: Scene, *, token: TokenKey = BONK) -> list[RunStatus]:
    strategy = scene.strategy()
    return [
        outcome.status for outcome in run_simulations(scene.plan(strategy, token=token), scene.state, scene.history)
    ]


def current_runs(scene: Scene) -> list[int]:
    return [
        run_id
        for (run_id,) in scene.ask_state(
            "select id from simulation_runs where status = 'completed' and superseded_by is null order by id"
        )
    ]


def shown_runs(scene: Scene) -> list[int]:
    """Return what views in ClickHouse show."""
    query = "select toInt64(simulation_run_id) from published_runs final where is_current order by 1"
    return [run_id for (run_id,) in scene.ask_history(query)]


def test_a_run_of_fewer_calls_supersedes_and_the_old_rules_bring_the_old_run_back(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 300))
    for number in range(2):
        said(scene, number, 60 * number)
    derive(scene)
    assert simulate(scene) == [RunStatus.COMPUTED]
    old = current_runs(scene)
    derive(scene, FIRST)
    assert simulate(scene) == [RunStatus.COMPUTED]
    assert current_runs(scene) != old
    derive(scene, EVERY)
    assert simulate(scene) == [RunStatus.REUSED]
    assert current_runs(scene) == old


def test_a_run_that_lost_all_its_calls_is_shown_no_more_and_comes_back_with_them(scene: Scene) -> None:
    """Nothing is left to simulate in its window, so no run would ever supersede it."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 300))
    february = MARCH - timedelta(days=1)
    said(scene, 1, 60)
    derive(scene)
    simulate(scene)
    old = current_runs(scene)
    assert shown_runs(scene) == old
    scene.state.store_alerts([alert(2, february, caller=CallerKey("file", "anna"))], None)
    counts = derive(scene, FIRST).counts
    assert (counts.deactivated, counts.runs_retired) == (1, 1)
    assert (current_runs(scene), shown_runs(scene)) == ([], [])
    # Its row, events and calls stay.
    assert scene.ask_state("select count(*) from simulation_runs") == [(1,)]
    derive(scene, EVERY)
    assert simulate(scene) == [RunStatus.REUSED]
    assert (current_runs(scene), shown_runs(scene)) == (old, old)


# --- aliases ---


def test_two_handles_count_as_one_caller_everywhere_and_apart_again(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 300))
    said(scene, 1, 10, "anna")
    said(scene, 2, 80, "anna2")
    derive(scene)
    simulate(scene)
    [before] = scene.ask_state("select run_key from simulation_runs")
    outcome = set_alias("file/anna2", "file/anna", scene.state, scene.history)
    assert (outcome.canonical, outcome.is_new) == (CallerKey("file", "anna"), True)
    assert [call.caller.handle for call in scene.state.load_calls()] == ["anna", "anna"]
    assert scene.ask_history("select distinct caller_handle from published_calls final") == [("anna",)]
    # The alert still says who said it.
    assert scene.ask_state("select h.handle from alerts a join callers h on h.id = a.caller_id order by a.id") == [
        ("anna",),
        ("anna2",),
    ]
    simulate(scene)
    assert scene.ask_state("select run_key from simulation_runs where superseded_by is null") != [before]
    features = store_features("plain", scene.state, scene.history)
    assert features["caller_calls_24h"].to_pylist() == [0.0, 1.0]
    assert features["other_callers_on_token"].to_pylist() == [0.0, 0.0]
    assert features["caller_finished_trades"].to_pylist() == [0.0, 1.0]
    remove_alias("file/anna2", scene.state, scene.history)
    assert [call.caller.handle for call in scene.state.load_calls()] == ["anna", "anna2"]
    simulate(scene)
    assert scene.ask_state("select run_key from simulation_runs where superseded_by is null") == [before]


def test_an_alias_counts_for_first_and_cool_down(scene: Scene) -> None:
    said(scene, 1, 10, "anna")
    said(scene, 2, 80, "anna2")
    derive(scene, FIRST)
    assert active_minutes(scene) == [10, 80]
    set_alias("file/anna2", "file/anna", scene.state, scene.history)
    assert active_minutes(scene) == [10]


def test_an_alias_of_an_alias_counts_for_the_last_one(scene: Scene) -> None:
    for number, handle in enumerate("abc"):
        said(scene, number, number, handle)
    derive(scene)
    set_alias("file/a", "file/b", scene.state, scene.history)
    set_alias("file/b", "c", scene.state, scene.history)
    assert {call.caller.handle for call in scene.state.load_calls()} == {"c"}
    remove_alias("file/b", scene.state, scene.history)
    assert [call.caller.handle for call in scene.state.load_calls()] == ["b", "b", "c"]


def test_aliases_close_no_circle(scene: Scene) -> None:
    for number, handle in enumerate("abc"):
        said(scene, number, number, handle)
    set_alias("file/a", "file/b", scene.state, scene.history)
    set_alias("file/b", "file/c", scene.state, scene.history)
    for alias, canonical, circle in (
        ("file/c", "file/a", "file/c -> file/a -> file/b -> file/c"),
        ("file/a", "file/a", "file/a -> file/a"),
    ):
        with pytest.raises(InputError, match=circle):
            set_alias(alias, canonical, scene.state, scene.history)
    assert scene.ask_state("select count(*) from caller_aliases") == [(2,)]


def test_an_unknown_handle_is_refused_with_those_near_it(scene: Scene) -> None:
    said(scene, 1, 1, "brook_calls")
    said(scene, 2, 2, "user123", caller_name="Lazy Larry")
    callers = scene.state.load_callers()
    with pytest.raises(InputError, match="near it are 'file/brook_calls'"):
        find_caller("file/brok_calls", callers)
    with pytest.raises(InputError, match="'file/user123'"):
        find_caller("Lazy Lary", callers)
    with pytest.raises(InputError, match="'quantbot callers list'"):
        find_caller("zzzzzzzz", callers)
    said(scene, 3, 3, "user456", caller_name="Ann of the long calls \U0001f680")
    with pytest.raises(InputError, match="near it are 'file/user456'"):
        find_caller("file/Ann \U0001f680\U0001f680", scene.state.load_callers())


def test_a_handle_alone_will_do_where_one_caller_has_it(scene: Scene) -> None:
    said(scene, 1, 1, "a/b")
    scene.state.store_alerts([alert(2, MARCH, caller=CallerKey("x", "both"))], None)
    scene.state.store_alerts([alert(3, MARCH, caller=CallerKey("y", "both"))], None)
    callers = scene.state.load_callers()
    assert find_caller("a/b", callers).caller == find_caller("file/a/b", callers).caller == CallerKey("file", "a/b")
    with pytest.raises(InputError, match="may mean 'x/both', 'y/both'"):
        find_caller("both", callers)
    near = find_caller("y/both", callers)
    assert find_caller("both", callers, near=near).caller == CallerKey("y", "both")


# --- chains ---


def candles_of(scene: Scene, chain: str) -> None:
    token = TokenKey(chain, ADDRESS)
    scene.state.upsert_tokens({token: None})
    scene.history.insert_candles(candle_rows(token, MARCH, 300))


def test_a_call_moves_to_the_one_chain_that_has_candles_and_back_when_a_second_has(scene: Scene) -> None:
    said(scene, 1, 10, token=OPEN)
    first = derive(scene)
    assert [call.token for call in scene.state.load_calls()] == [OPEN]
    assert [(token.address, token.alert_count) for token in first.unplaced] == [(ADDRESS, 1)]
    candles_of(scene, "base")
    moved = derive(scene)
    assert (moved.counts.changed, moved.unplaced) == (1, ())
    [call] = scene.state.load_calls()
    assert call.token == TokenKey("base", ADDRESS)
    # The alert keeps what it said.
    assert scene.ask_state("select t.chain from alerts a join tokens t on t.id = a.token_id") == [("unknown-evm",)]
    assert simulate(scene, token=TokenKey("base", ADDRESS)) == [RunStatus.COMPUTED]
    candles_of(scene, "bsc")
    back = derive(scene)
    assert [call.token for call in scene.state.load_calls()] == [OPEN]
    assert "base, bsc" in back.unplaced[0].reason
    assert back.counts.runs_retired == 1
    assert scene.ask_state("select metadata_json ->> 'chain' from calls")[0][0].startswith("candles are stored")


def test_tokens_of_alerts_alone_tell_no_chain(scene: Scene) -> None:
    said(scene, 1, 10, token=OPEN)
    said(scene, 2, 11, token=TokenKey("bsc", ADDRESS))
    derive(scene)
    assert [call.token.chain for call in scene.state.load_calls()] == ["unknown-evm", "bsc"]


# --- what a later import knows ---


def test_a_later_import_fills_what_an_alert_left_open_and_changes_nothing_it_said(scene: Scene) -> None:
    said(scene, 1, 10, token=OPEN, alert_price=None, attributes={"pool": "p"})
    derive(scene)
    [call_id] = [call.call_id for call in scene.state.load_calls()]
    known = TokenKey("base", ADDRESS)
    alerts = [alert(1, MARCH + 10 * MINUTE, token=known, alert_price=2.0, alert_market_cap=5.0, confidence=0.5,
                    caller=CallerKey("file", "anna"), attributes={"pool": "q", "notes": ["n"]})]  # fmt: skip
    assert scene.state.store_alerts(alerts, None) == (0, 1)
    columns = "alert_price, alert_market_cap, confidence, attributes_json, filled_json"
    [row] = scene.ask_state(f"select {columns} from alerts")  # noqa: S608 - the test's own text
    # The market cap was 1001 before and stays.
    assert row[:4] == (2.0, 1001.0, 0.5, {"pool": "p", "notes": ["n"]})
    assert set(row[4]) == {"alert_price", "confidence", "token_id", "attributes_json"}
    derive(scene)
    [call] = scene.state.load_calls()
    assert (call.call_id, call.token, call.alert_price) == (call_id, known, 2.0)
    assert scene.state.load_published_calls()["alert_price"].to_pylist() == [2.0]
    assert scene.state.store_alerts(alerts, None) == (0, 1)
    assert scene.ask_state(f"select {columns} from alerts") == [row]  # noqa: S608 - the test's own text


def test_the_first_price_that_is_known_stays(scene: Scene) -> None:
    # The last one fills the confidence, and still not the price.
    for price, confidence in ((None, None), (2.0, None), (3.0, 0.5)):
        said(scene, 1, 10, alert_price=price, confidence=confidence)
    assert scene.ask_state("select alert_price, confidence from alerts") == [(2.0, 0.5)]


def test_a_later_edit_tells_an_alert_no_figures_but_its_chain(scene: Scene) -> None:
    said(scene, 1, 10, token=OPEN, alert_price=None)
    said(scene, 1, 11, token=TokenKey("base", ADDRESS), alert_price=2.0, confidence=0.5, attributes={"pool": "q"})
    assert scene.ask_state("select alert_price, confidence, attributes_json from alerts") == [(None, None, {})]
    assert scene.ask_state("select t.chain from alerts a join tokens t on t.id = a.token_id") == [("base",)]


def test_deriving_mirrors_new_calls_and_what_alerts_say_anew(scene: Scene) -> None:
    """Neither is a change of a stored call; ClickHouse had both only after the next simulation."""
    said(scene, 1, 10, alert_price=None)
    derive(scene)
    assert scene.ask_history("select alert_price from published_calls final") == [(None,)]
    said(scene, 1, 10, alert_price=2.0)
    derive(scene)
    assert scene.ask_history("select alert_price from published_calls final") == [(2.0,)]


def test_a_filled_alert_reaches_the_mirror(scene: Scene) -> None:
    said(scene, 1, 10, alert_price=None)
    derive(scene)
    old = scene.state.load_published_runs(), scene.state.load_published_calls()
    said(scene, 1, 10, alert_price=2.0)
    scene.history.publish(scene.state.load_published_runs(), scene.state.load_published_calls())
    # A copy that was read before comes late: the newer one stays.
    scene.history.publish(*old)
    assert scene.ask_history("select alert_price from published_calls final") == [(2.0,)]


def test_names_as_written_are_kept_and_the_newest_alert_names_the_caller(scene: Scene) -> None:
    for number, minute, name in ((1, 10, "Brook"), (2, 20, "Brook 2"), (3, 5, "Old Brook")):
        said(scene, number, minute, "id7", caller_name=name, caller_attributes={"name_as_written": f"{name}\nvia @bot"})
    [row] = scene.state.load_callers()
    assert row.display_name == "Brook 2"
    [(attributes,)] = scene.ask_state("select attributes_json from callers")
    assert attributes == {
        "names": ["Brook", "Brook 2", "Old Brook"],
        "name_as_written": [f"{name}\nvia @bot" for name in ("Brook", "Brook 2", "Old Brook")],
    }


def test_exits_are_derived_as_sells_whatever_the_policy(scene: Scene) -> None:
    said(scene, 1, 10)
    said(scene, 2, 20, signal_type=SignalType.EXIT)
    said(scene, 3, 30, token=PEPE)
    derive(scene, FIRST)
    assert [(call.signal_type.value, call.side.value) for call in scene.state.load_calls()] == [
        ("entry", "buy"),
        ("exit", "sell"),
        ("entry", "buy"),
    ]
