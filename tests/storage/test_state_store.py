"""What every state store must do, on a real Postgres."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import TypeVar

import psycopg
import pyarrow as pa
import pytest
from stored_rows import (
    BONK,
    MARCH,
    PEPE,
    alert,
    call_of,
    digest,
    import_record,
    model,
    run,
    store_calls,
    store_strategy,
    summary,
)

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError, InputError, IntegrityError, StorageError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage import postgres_entities
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.postgres_connection import PostgresConnections
from quantbot_pipeline.storage.records import AlertRow, CallerKey, ImportRecord, NewCall, NewTrial

pytestmark = pytest.mark.server

Result = TypeVar("Result")

SMALLEST_PRICES = [1e-15, 1.2345678901234567e-12, 5e-324, 0.1 + 0.2, 1.7976931348623157e308]
INJECTIONS = ["'; drop table alerts; --", "%(name)s %s %%", "\\N", "a\tb\nc", '{"x": 1}', "🚀 Λ 漢字 \u202e"]


def count(state: PostgresStore) -> dict[str, int]:
    return dict(state.read("counts/count_state").to_pylist()[0])


# --- tokens ------------------------------------------------------------------------------------------


def test_tokens_keep_their_id_and_their_symbol_when_stored_again(state: PostgresStore) -> None:
    first = state.upsert_tokens({BONK: "BONK", PEPE: None})
    again = state.upsert_tokens({BONK: None, PEPE: "PEPE"})

    assert first == again
    assert state.upsert_tokens({BONK: "BONK2"}) == {BONK: first[BONK]}
    store_calls(state, [alert(1, symbol=None)])
    assert state.load_published_calls()["symbol"].to_pylist() == ["BONK2"]


def test_no_tokens_is_no_work(state: PostgresStore) -> None:
    assert state.upsert_tokens({}) == {}


# --- alerts and calls ---------------------------------------------------------------------------------


def test_alerts_stored_twice_are_there_once(state: PostgresStore) -> None:
    alerts = [alert(number) for number in range(10)]

    assert state.store_alerts(alerts, None) == (10, 0)
    # Seven of these ten are stored already.
    assert state.store_alerts([alert(number) for number in range(3, 13)], None) == (3, 7)
    assert state.store_alerts([*alerts, *alerts], None) == (0, 20)

    assert count(state)["alerts"] == 13


def test_the_same_alert_twice_in_one_write_is_one_row(state: PostgresStore) -> None:
    assert state.store_alerts([alert(1), alert(1)], None) == (1, 1)


def test_import_counts_are_corrected_by_what_another_file_brought(state: PostgresStore) -> None:
    state.store_alerts([alert(1), alert(2)], import_record("first", stored=2))
    # The parser saw 3 good rows, 1 repeated and 2 bad ones; 2 of the 3 came with the first file.
    counts = state.store_alerts(
        [alert(1), alert(2), alert(3)], import_record("second", stored=3, duplicate=1, refused=2)
    )

    assert counts == (1, 2)
    found = state.find_import("alerts", digest("second"), "")
    assert found == import_record("second", stored=1, duplicate=3, refused=2)
    total = count(state)
    assert (total["alert_rows_read"], total["alert_rows_stored"], total["alert_rows_duplicate"]) == (8, 3, 3)
    assert (total["alert_rows_quarantined"], total["quarantined"]) == (2, 2)


def test_importing_a_file_again_changes_no_count(state: PostgresStore) -> None:
    record = import_record("file", stored=2, refused=1)
    state.store_alerts([alert(1), alert(2)], record)
    before = count(state)

    assert state.store_alerts([alert(1), alert(2)], record) == (0, 2)
    assert count(state) == before
    assert state.find_import("alerts", record.sha256, "") == record


@pytest.mark.parametrize(
    "record",
    [
        import_record("short", stored=2, rows_read=3),
        import_record("long", stored=2, rows_read=1),
        import_record("lost", stored=2, refused=2, quarantined=()),
    ],
    ids=["a row was lost", "a row was counted twice", "a quarantined row is not given"],
)
def test_counts_that_do_not_add_up_store_nothing(state: PostgresStore, record: ImportRecord) -> None:
    with pytest.raises(IntegrityError, match="nothing was recorded"):
        state.store_alerts([alert(1), alert(2)], record)

    assert count(state)["alerts"] == 0
    assert count(state)["tokens"] == 0


@pytest.mark.parametrize("price", SMALLEST_PRICES)
def test_prices_survive_to_the_last_bit(state: PostgresStore, price: float) -> None:
    store_calls(state, [alert(1, alert_price=price, alert_market_cap=price)])

    (call,) = state.load_calls()
    assert call.alert_price == price
    assert call.alert_market_cap == price
    assert state.load_published_calls()["alert_price"].to_pylist() == [price]


def test_times_of_any_zone_are_the_same_instant_in_utc(state: PostgresStore) -> None:
    # 2025-03-01 11:00 in Sydney (+11) is midnight UTC.
    sydney = datetime(2025, 3, 1, 11, tzinfo=timezone(timedelta(hours=11)))
    store_calls(state, [alert(1, alert_timestamp=sydney)])

    (call,) = state.load_calls()
    assert call.signal_timestamp == MARCH
    assert call.signal_timestamp.utcoffset() == timedelta(0)


def test_a_time_without_zone_is_refused_and_nothing_stored(state: PostgresStore) -> None:
    naive = datetime(2025, 3, 1)  # noqa: DTZ001 - the naive time is the point
    with pytest.raises(DataError, match="alert_timestamp 2025-03-01T00:00:00 states no time zone"):
        state.store_alerts([alert(1), alert(2, alert_timestamp=naive)], None)

    assert count(state)["alerts"] == 0


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_is_data_whatever_it_looks_like(state: PostgresStore, text: str) -> None:
    store_calls(
        state,
        [alert(1, caller=CallerKey(text, text), symbol=text, raw_payload={text: [text, None, 1e-15, True]})],
    )

    (call,) = state.load_calls()
    assert call.caller == CallerKey(text, text)
    assert state.load_published_calls()["symbol"].to_pylist() == [text]


def test_characters_that_postgres_cannot_hold_become_visible(state: PostgresStore, postgres_database: str) -> None:
    state.store_alerts([alert(1, raw_payload={"a\x00": "b\x00\ud800", "price": float("nan")})], None)

    with psycopg.connect(postgres_database) as connection:
        (payload,) = connection.execute("select raw_payload_json from alerts").fetchone() or ()
    assert payload == {"a\u2400": "b\u2400\ufffd", "price": "NaN"}


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused(state: PostgresStore, price: float) -> None:
    with pytest.raises(StorageError, match="alerts_alert_price_check"):
        state.store_alerts([alert(1, alert_price=price)], None)
    assert count(state)["callers"] == 0


def test_a_call_is_derived_once_per_alert(state: PostgresStore) -> None:
    state.store_alerts([alert(2), alert(1)], None)
    seen: list[list[int]] = []

    def derive(rows: Sequence[AlertRow]) -> list[NewCall]:
        seen.append([row.alert_timestamp.minute for row in rows])
        return [call_of(row) for row in rows]

    assert state.derive_calls({}, derive).new == 2
    assert state.derive_calls({}, derive).new == 0
    assert seen == [[1, 2], [1, 2]]
    assert [call.signal_timestamp.minute for call in state.load_calls()] == [1, 2]


def test_calls_are_chosen_by_token_and_half_open_window(state: PostgresStore) -> None:
    store_calls(
        state,
        [
            alert(0),
            alert(10, signal_type=SignalType.EXIT, side=Side.SELL),
            alert(20),
            alert(11, token=PEPE, symbol="PEPE", caller=CallerKey("lsy", "lsy")),
        ],
    )

    def minutes(*arguments: object) -> list[int]:
        return [call.signal_timestamp.minute for call in state.load_calls(*arguments)]  # type: ignore[arg-type]

    assert minutes() == [0, 10, 11, 20]
    assert minutes([BONK], MARCH, MARCH + timedelta(minutes=20)) == [0, 10]
    assert minutes([BONK, PEPE], MARCH + timedelta(minutes=10)) == [10, 11, 20]
    assert minutes([TokenKey("solana", "unknown")]) == []
    assert minutes([]) == []
    second = state.load_calls([BONK])[1]
    assert (second.token, second.side, second.signal_type) == (BONK, Side.SELL, SignalType.EXIT)


# --- imports ------------------------------------------------------------------------------------------


def test_an_import_is_found_once_it_is_completed(state: PostgresStore) -> None:
    record = import_record("candles", stored=5, refused=2, kind="candles")

    assert state.begin_import(record) == record
    assert state.find_import("candles", record.sha256, "") is None
    assert count(state)["candle_rows_read"] == 0

    state.complete_import(record)
    state.complete_import(record)
    assert state.find_import("candles", record.sha256, "") == record
    assert state.find_import("candles", record.sha256, "other options") is None
    assert state.find_import("alerts", record.sha256, "") is None
    assert count(state)["quarantined"] == 2


def test_a_second_attempt_keeps_the_counts_of_the_first(state: PostgresStore) -> None:
    first = import_record("candles", stored=5, duplicate=1, kind="candles")
    state.begin_import(first)
    # The first attempt died after its rows were stored; the second finds them and counts them as duplicates.
    second = replace(first, rows_stored=0, rows_duplicate=6, file="renamed.csv")

    assert state.begin_import(second) == first
    state.complete_import(second)
    assert state.find_import("candles", first.sha256, "") == first


def test_an_import_that_was_never_begun_is_not_completed(state: PostgresStore) -> None:
    with pytest.raises(StorageError, match="was never begun"):
        state.complete_import(import_record("candles", stored=5, kind="candles"))


def test_two_processes_that_complete_one_import_keep_its_rows_once(
    state: PostgresStore, postgres_database: str
) -> None:
    record = import_record("candles", stored=1, refused=50, kind="candles")
    state.begin_import(record)

    with (
        psycopg.connect(postgres_database) as blocker,
        psycopg.connect(postgres_database, autocommit=True) as watcher,
        ThreadPoolExecutor(4) as pool,
    ):
        # All four see a started import before one of them may write a quarantined row.
        blocker.execute("lock table quarantine in access exclusive mode")
        completions = [pool.submit(state.complete_import, record) for _ in range(4)]
        deadline = time.monotonic() + 20
        waiting = 0
        while waiting < 4 and time.monotonic() < deadline:
            found = watcher.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
            waiting = found[0] if found else 0
        blocker.rollback()
        for completion in completions:
            completion.result(timeout=20)

    assert waiting == 4
    assert count(state)["quarantined"] == 50


# --- strategies ---------------------------------------------------------------------------------------


def test_a_strategy_stored_again_is_the_stored_one_with_its_words_renewed(state: PostgresStore) -> None:
    first = store_strategy(state)

    assert store_strategy(state, category="new", description="New words.") == first
    (row,) = state.load_strategies()
    assert (row.category, row.config, row.config_hash) == (
        "new",
        {"exits": {"stop_loss": {"initial": 0.2}}},
        digest("config"),
    )


def test_a_version_with_another_config_is_refused(state: PostgresStore) -> None:
    store_strategy(state)
    with pytest.raises(InputError, match=r"'basic' version '1' is stored with another config.*new version"):
        store_strategy(state, config={"changed": True}, config_hash=digest("changed"))
    assert [row.config_hash for row in state.load_strategies()] == [digest("config")]


def test_the_database_itself_fixes_the_config_of_a_used_version(state: PostgresStore, postgres_database: str) -> None:
    strategy_id = store_strategy(state)
    change = "update strategies set config_json = '{}' where id = %s"
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(change, [strategy_id])
        state.claim_runs([run(strategy_id, "a")])
        with pytest.raises(psycopg.errors.RestrictViolation, match="basic version 1 was used"):
            connection.execute("update strategies set config_json = '{\"x\": 1}' where id = %s", [strategy_id])
        connection.execute("update strategies set description = 'x', is_active = false")


def test_strategies_are_found_by_name(state: PostgresStore) -> None:
    store_strategy(state, "b")
    store_strategy(state, "a", "2")
    store_strategy(state, "a", "1")

    assert [(row.name, row.version) for row in state.load_strategies()] == [("a", "1"), ("a", "2"), ("b", "1")]
    assert [row.name for row in state.load_strategies(["b", "unknown"])] == ["b"]
    assert state.load_strategies([]) == []


# --- runs ---------------------------------------------------------------------------------------------


def statuses(state: PostgresStore) -> dict[str, tuple[str, bool]]:
    """Status and whether superseded, by run key."""
    rows = state.read("runs/load_run_history").to_pylist()
    return {row["run_key"]: (row["status"], row["superseded_by"] is not None) for row in rows}


def test_claims_come_back_in_the_order_given_also_for_repeated_keys(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    runs = [run(strategy_id, key, key) for key in ("c", "a", "b", "a")]

    claims = state.claim_runs(runs)

    assert [claim.run_key for claim in claims] == [one.run_key for one in runs]
    assert claims[1] == claims[3]
    assert [claim.is_complete for claim in claims] == [False] * 4
    assert count(state)["runs_running"] == 3
    assert state.claim_runs([]) == []


def test_a_key_has_one_row_for_ever(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (dead,) = state.claim_runs([run(strategy_id, "a")])
    (taken_over,) = state.claim_runs([run(strategy_id, "a")])
    state.fail_runs({dead.run_id: "no candles \x00"})
    assert statuses(state) == {digest("a"): ("failed", False)}
    (again,) = state.claim_runs([run(strategy_id, "a")])

    assert dead.run_id == taken_over.run_id == again.run_id
    assert statuses(state) == {digest("a"): ("running", False)}

    state.complete_runs([summary(again.run_id)])
    (complete,) = state.claim_runs([run(strategy_id, "a")])
    assert complete == replace(again, is_complete=True, events_digest=digest("events"))
    assert statuses(state) == {digest("a"): ("completed", False)}


def test_completed_runs_neither_fail_nor_change(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (claim,) = state.claim_runs([run(strategy_id, "a")])
    state.complete_runs([summary(claim.run_id)])
    before = state.load_published_runs()

    state.fail_runs({claim.run_id: "too late"})
    state.complete_runs([summary(claim.run_id, final_pnl=9.0, trade_count=9)])

    assert state.load_published_runs() == before
    assert before["trade_count"].to_pylist() == [2]


def test_a_key_of_another_scope_is_refused(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    state.claim_runs([run(strategy_id, "a", "one scope")])
    with pytest.raises(IntegrityError, match="another scope"):
        state.claim_runs([run(strategy_id, "b"), run(strategy_id, "a", "another scope")])
    assert set(statuses(state)) == {digest("a")}


def test_a_newer_run_of_the_scope_supersedes_the_older_one(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (old,) = state.claim_runs([run(strategy_id, "old")])
    state.complete_runs([summary(old.run_id)])
    new, other = state.claim_runs([run(strategy_id, "new"), run(strategy_id, "other", "other scope")])
    assert statuses(state)[digest("old")] == ("completed", False)

    state.complete_runs([summary(new.run_id), summary(other.run_id)])

    assert statuses(state) == {
        digest("old"): ("completed", True),
        digest("new"): ("completed", False),
        digest("other"): ("completed", False),
    }
    published = {row["simulation_run_id"]: row for row in state.load_published_runs().to_pylist()}
    assert {key: row["is_current"] for key, row in published.items()} == {
        old.run_id: False,
        new.run_id: True,
        other.run_id: True,
    }
    assert published[old.run_id]["row_version"] > 0
    total = count(state)
    assert (total["runs_completed"], total["runs_current"]) == (3, 2)


def test_of_one_scope_the_last_claimed_run_is_current_whichever_completes_last(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (first,) = state.claim_runs([run(strategy_id, "first")])
    (second,) = state.claim_runs([run(strategy_id, "second")])

    state.complete_runs([summary(second.run_id)])
    state.complete_runs([summary(first.run_id)])

    assert statuses(state)[digest("first")] == ("completed", True)
    assert statuses(state)[digest("second")] == ("completed", False)


def test_runs_of_one_scope_completed_together_leave_one_current(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    claims = state.claim_runs([run(strategy_id, f"run {number}") for number in range(5)])
    state.complete_runs([summary(claim.run_id) for claim in claims])
    assert count(state)["runs_current"] == 1


def test_a_reused_run_becomes_current_again(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (old,) = state.claim_runs([run(strategy_id, "old")])
    state.complete_runs([summary(old.run_id)])
    (new,) = state.claim_runs([run(strategy_id, "new")])
    state.complete_runs([summary(new.run_id)])
    versions = dict(
        zip(*(state.load_published_runs()[c].to_pylist() for c in ("simulation_run_id", "row_version")), strict=True)
    )

    state.reactivate_runs([old.run_id])

    assert statuses(state) == {digest("old"): ("completed", False), digest("new"): ("completed", True)}
    for row in state.load_published_runs().to_pylist():
        assert row["row_version"] > versions[row["simulation_run_id"]]
    unchanged = state.load_published_runs()
    state.reactivate_runs([old.run_id])
    assert state.load_published_runs() == unchanged


def test_only_completed_runs_are_made_current(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    (claim,) = state.claim_runs([run(strategy_id, "a")])
    with pytest.raises(StorageError, match="is running and can't be made current"):
        state.reactivate_runs([claim.run_id])
    for call in (state.reactivate_runs, lambda ids: state.complete_runs([summary(ids[0])])):
        with pytest.raises(StorageError, match="1 runs are not in simulation_runs, the first is 12345"):
            call([12345])


def test_a_summary_that_is_refused_leaves_every_run_of_the_write_open(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    good, bad = state.claim_runs([run(strategy_id, "good", "good"), run(strategy_id, "bad", "bad")])

    with pytest.raises(StorageError, match="sharpe_ratio"):
        state.complete_runs([summary(good.run_id), summary(bad.run_id, sharpe_ratio=float("nan"))])

    assert {status for status, _ in statuses(state).values()} == {"running"}
    assert state.load_published_runs().num_rows == 0


def test_unfinished_runs_are_listed_by_age(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    done, dead, failed = state.claim_runs([run(strategy_id, key, key) for key in "abc"])
    state.complete_runs([summary(done.run_id)])
    state.fail_runs({failed.run_id: "why"})

    tomorrow = datetime.now(UTC) + timedelta(days=1)
    listed = [
        state.read("runs/load_unfinished_runs", claimed_before=at) for at in (tomorrow, tomorrow - timedelta(days=2))
    ]
    assert [rows["run_id"].to_pylist() for rows in listed] == [sorted([dead.run_id, failed.run_id]), []]


def run_together(works: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run works in threads that start at one moment; raises what any of them raised."""
    barrier = threading.Barrier(len(works))

    def wait_and_run(work: Callable[[], Result]) -> Result:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(wait_and_run, work) for work in works]]


def test_concurrent_claimers_of_the_same_keys_get_the_same_rows(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    keys = [f"run {number}" for number in range(300)]
    # A third exists already, so both paths of the claim are raced.
    state.claim_runs([run(strategy_id, key, key) for key in keys[::3]])

    def claim(seed: int) -> dict[str, int]:
        shuffled = random.Random(seed).sample(keys, len(keys))  # noqa: S311 - an order, not a secret
        return {one.run_key: one.run_id for one in state.claim_runs([run(strategy_id, key, key) for key in shuffled])}

    results = run_together([partial(claim, seed) for seed in range(4)])

    assert all(result == results[0] for result in results)
    assert count(state)["runs_running"] == 300


def test_concurrent_completions_of_one_scope_leave_one_current_run(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    for turn in range(10):
        claims = state.claim_runs([run(strategy_id, f"{turn} {number}", f"{turn}") for number in range(4)])
        run_together([partial(state.complete_runs, [summary(claim.run_id)]) for claim in claims])
    total = count(state)
    assert (total["runs_completed"], total["runs_current"]) == (40, 10)


def test_an_alert_fills_what_one_that_is_stored_at_the_same_moment_leaves_open(
    state: PostgresStore, postgres_database: str
) -> None:
    """What the first one left open was looked at before it was there, and never again: its file is known."""
    unplaced, placed = TokenKey("unknown-evm", PEPE.address), PEPE
    state.store_alerts([alert(2, token=unplaced), alert(3, token=placed)], None)
    with (
        closing(PostgresConnections(postgres_database)) as connections,
        psycopg.connect(postgres_database, autocommit=True) as observer,
        ThreadPoolExecutor(1) as pool,
    ):
        with connections.transaction() as first:
            postgres_entities.store_alerts(first, [alert(1, token=unplaced)], None)
            second = pool.submit(state.store_alerts, [alert(1, token=placed)], None)
            deadline = time.monotonic() + 20
            while observer.execute("select from pg_locks where not granted").fetchone() is None:
                assert time.monotonic() < deadline, "the second one waits for the first"
                time.sleep(0.01)
        assert second.result() == (0, 1)
        chains = "select tokens.chain from alerts join tokens on alerts.token_id = tokens.id order by alert_timestamp"
        assert observer.execute(chains).fetchall() == [("ethereum",), ("unknown-evm",), ("ethereum",)]


def test_concurrent_imports_of_the_same_alerts_store_them_once(state: PostgresStore) -> None:
    def store(seed: int) -> tuple[int, int]:
        numbers = random.Random(seed).sample(range(400), 400)  # noqa: S311 - an order, not a secret
        return state.store_alerts(
            [alert(n, token=TokenKey("binance", f"P{n % 40}"), caller=CallerKey("s", f"{n % 7}")) for n in numbers],
            None,
        )

    results = run_together([partial(store, seed) for seed in range(4)])

    assert sum(stored for stored, _ in results) == 400
    assert count(state)["alerts"] == 400
    assert (count(state)["tokens"], count(state)["callers"]) == (40, 7)


# --- optimization -------------------------------------------------------------------------------------


def test_a_job_is_taken_over_until_it_is_complete(state: PostgresStore) -> None:
    template = store_strategy(state)

    def create(job_key: str = "k") -> tuple[int, bool]:
        return state.create_job(
            name="stops", strategy_template_id=template, search_space={"a": [1]}, objective="sharpe", job_key=job_key
        )

    job_id, is_complete = create()
    assert not is_complete
    state.finish_job(job_id, status="failed", error_message="why")
    assert create() == (job_id, False)
    state.finish_job(job_id, status="completed")
    state.finish_job(job_id, status="failed", error_message="too late")
    assert create() == (job_id, True)
    assert count(state)["jobs"] == 1
    # Asked for three times, it took one number.
    assert create("another") == (job_id + 1, False)
    with pytest.raises(StorageError, match="job 999 does not exist"):
        state.finish_job(999, status="completed")
    with pytest.raises(StorageError, match="can't be finished as 'done'"):
        state.finish_job(job_id, status="done")


def test_trials_are_stored_once_and_ranked_by_score(state: PostgresStore) -> None:
    template = store_strategy(state)
    (claim,) = state.claim_runs([run(template, "a")])
    job_id, _ = state.create_job(
        name="stops", strategy_template_id=template, search_space={}, objective="sharpe", job_key="k"
    )
    trials = [
        NewTrial(0, {"stop": 1e-15}, claim.run_id, {"pnl": 0.1}, 0.5),
        NewTrial(1, {"stop": 2.0}, None, {}, None),
        NewTrial(2, {"stop": 0.3}, claim.run_id, {"pnl": float("inf")}, 0.7),
    ]

    assert state.store_trials(job_id, trials[:2]) == (2, 0)
    assert state.store_trials(job_id, trials) == (1, 2)
    assert state.store_trials(job_id, []) == (0, 0)
    ranked = state.read("optimization/load_trials", job_id=job_id).to_pylist()
    assert [(row["score_rank"], row["trial_index"], row["score"]) for row in ranked] == [
        (1, 2, 0.7),
        (2, 0, 0.5),
        (3, 1, None),
    ]


# --- models -------------------------------------------------------------------------------------------


def test_a_ready_model_deprecates_the_one_before(state: PostgresStore) -> None:
    first = state.register_model(model("1"))
    other = state.register_model(model("1", name="other"))
    second = state.register_model(model("2", metrics={"auc": 0.7}))
    assert state.register_model(model("2", metrics={"auc": 0.8}, trained_until=MARCH)) == second
    state.register_model(model("3", status="failed"))

    found = {(row.name, row.version): row for row in state.load_models()}
    assert {key: row.status for key, row in found.items()} == {
        ("win", "1"): "deprecated",
        ("other", "1"): "ready",
        ("win", "2"): "ready",
        ("win", "3"): "failed",
    }
    assert found["win", "2"].metrics == {"auc": 0.8}
    assert [found["win", version].trained_until for version in ("1", "2")] == [None, MARCH]
    assert found["win", "2"].input_features == ("market_cap", "hour")
    assert [row.version for row in state.load_models("win")] == ["3", "2", "1"]
    assert len({first, other, second}) == 3


def test_concurrent_registrations_leave_one_ready_version(state: PostgresStore) -> None:
    run_together([partial(state.register_model, model(str(version))) for version in range(8)])
    assert sorted(row.status for row in state.load_models("win")) == ["deprecated"] * 7 + ["ready"]


def test_a_version_is_promoted_and_deprecated_by_hand(state: PostgresStore) -> None:
    for version, status in (("1", "ready"), ("2", "ready"), ("3", "failed"), ("4", "training")):
        state.register_model(model(version, status=status))
    state.register_model(model("1", name="other"))

    assert state.change_model_status("win", "1", status="ready") == "deprecated"
    assert state.change_model_status("win", "1", status="ready") == "ready"
    assert [(row.version, row.status) for row in state.load_models("win")][2:] == [("2", "deprecated"), ("1", "ready")]
    assert state.change_model_status("win", "1", status="deprecated") == "ready"
    assert {row.status for row in state.load_models("win")} == {"deprecated", "failed", "training"}
    assert [row.status for row in state.load_models("other")] == ["ready"]
    for version, message in (
        ("3", "is failed, so it can't be made ready: it does not beat its baselines"),
        ("4", "is training, so it can't be made ready: its training was interrupted"),
        ("9", "has no version '9'"),
    ):
        with pytest.raises(InputError, match=message):
            state.change_model_status("win", version, status="ready")
    with pytest.raises(StorageError, match="can't be made 'failed'"):
        state.change_model_status("win", "2", status="failed")


def test_of_promotions_at_once_one_wins(state: PostgresStore) -> None:
    versions = [str(number) for number in range(8)]
    for version in versions:
        state.register_model(model(version))
    run_together([partial(state.change_model_status, "win", version, status="ready") for version in versions])
    assert sorted(row.status for row in state.load_models("win")) == ["deprecated"] * 7 + ["ready"]


def test_the_database_refuses_a_ready_model_that_does_not_beat_its_baselines(state: PostgresStore) -> None:
    with pytest.raises(StorageError, match="ml_models_ready_beats_baselines"):
        state.register_model(model("1", metrics={"beats_baseline": False}))
    assert state.load_models() == []


# --- reading ------------------------------------------------------------------------------------------


def test_an_empty_result_has_the_types_of_a_full_one(state: PostgresStore) -> None:
    empty = state.load_published_calls()
    store_calls(state, [alert(1)])
    full = state.load_published_calls()

    assert (empty.num_rows, full.num_rows) == (0, 1)
    assert empty.schema == full.schema
    assert full.schema.field("signal_timestamp").type == pa.timestamp("us", tz="UTC")
    assert full.schema.field("alert_price").type == pa.float64()


def test_a_document_is_read_as_json_text(state: PostgresStore) -> None:
    template = store_strategy(state)
    job_id, _ = state.create_job(
        name="stops", strategy_template_id=template, search_space={}, objective="sharpe", job_key="k"
    )
    state.store_trials(job_id, [NewTrial(0, {"stop": 1e-15, "name": "🚀"}, None, {}, None)])
    table = state.read("optimization/load_trials", job_id=job_id)
    assert table["trial_params_json"].to_pylist() == ['{"name": "🚀", "stop": 0.000000000000001}']


def test_updated_at_follows_every_change_and_nothing_else(state: PostgresStore, postgres_database: str) -> None:
    def versions() -> list[tuple[datetime, datetime]]:
        with psycopg.connect(postgres_database) as connection:
            return list(connection.execute("select created_at, updated_at from tokens"))

    state.upsert_tokens({BONK: "BONK"})
    before = versions()
    state.upsert_tokens({BONK: "BONK"})
    assert versions() == before
    state.upsert_tokens({BONK: "NEW"})
    assert versions()[0][0] == before[0][0]
    assert versions()[0][1] > before[0][1]
