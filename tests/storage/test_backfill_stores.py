"""What backfills ask of the stores: contents of months, locks, stamps of runs, outcomes of token-months."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import clickhouse_connect
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from stored_rows import BONK, MARCH_SECOND, PEPE, candles, digest, run, store_strategy, summary

from quantbot_pipeline.errors import StorageError
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import BackfilledMonth

pytestmark = pytest.mark.server

DAY = 86_400


# --- contents of months ---


def contents(history: ClickHouseStore) -> dict[tuple[str, str], str]:
    """Return the content of each (token address, month)."""
    rows = history.load_contents([BONK, PEPE]).to_pylist()
    return {(row["token_address"], row["month"]): row["content"] for row in rows}


def test_a_months_content_changes_with_any_value_of_it_and_no_other_months_does(history: ClickHouseStore) -> None:
    # Two candles in March and two in April, of two tokens.
    for token in (BONK, PEPE):
        history.insert_candles(candles(token, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
        history.insert_candles(candles(token, "5m", MARCH_SECOND + 31 * DAY, 300, [3.0, 4.0]))
    before = contents(history)
    assert len(before) == 4
    # The same candles make the same content, of whichever token.
    assert len(set(before.values())) == 2

    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.5]))
    after = contents(history)
    assert {key for key in before if before[key] != after[key]} == {(BONK.address, "2025-03")}


def test_content_is_that_of_the_candles_that_count_whatever_came_before_them(history: ClickHouseStore) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
    before, imported = contents(history), history.load_imported([BONK])["imported"].to_pylist()
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [5.0, 6.0]))
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
    assert contents(history) == before
    # That something was imported meanwhile shows all the same.
    assert history.load_imported([BONK])["imported"].to_pylist() != imported


def test_swapped_values_are_another_content(history: ClickHouseStore) -> None:
    """A sum over single values would not see which candle has which."""
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
    history.insert_candles(candles(PEPE, "5m", MARCH_SECOND, 300, [2.0, 1.0]))
    found = contents(history)
    assert found[BONK.address, "2025-03"] != found[PEPE.address, "2025-03"]


def test_contents_of_no_token_are_an_empty_table_with_columns(history: ClickHouseStore) -> None:
    assert history.load_contents([]).num_rows == 0
    assert {"content", "imported", "month"} <= set(history.load_contents([]).column_names)


@pytest.fixture
def clickhouse_client(clickhouse_database: str) -> Iterator[Client]:
    with closing(clickhouse_connect.get_client(dsn=clickhouse_database)) as client:
        yield client


def asked_without_hashing(history: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    def refuse(*_: object) -> None:
        raise AssertionError("a candle is read")

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouseStore, "_hash", refuse)
        return history.load_contents([BONK, PEPE]).to_pylist()


def test_what_is_remembered_is_what_hashing_gives_after_whatever_happened(
    history: ClickHouseStore, clickhouse_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is hashed twice, and nothing is remembered of parts that are gone."""
    later = MARCH_SECOND + 31 * DAY
    changes = [
        lambda: history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0])),
        # Of a token that had nothing, in a month that is known.
        lambda: history.insert_candles(candles(PEPE, "5m", MARCH_SECOND, 300, [1.0])),
        lambda: history.insert_candles(candles(BONK, "1m", later, 60, [3.0, 4.0, 5.0])),
        # The same values once more: another import.
        lambda: history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0])),
        lambda: clickhouse_client.command("optimize table ohlcv_candles final"),
        lambda: clickhouse_client.command(
            "alter table ohlcv_candles update close = 9 where close = 2 settings mutations_sync = 2"
        ),
        lambda: clickhouse_client.command("delete from ohlcv_candles where interval = '1m'"),
        lambda: clickhouse_client.command("truncate table ohlcv_candles"),
    ]
    seen = []
    for change in changes:
        change()
        truth = history.load_contents([BONK, PEPE], anew=True).to_pylist()
        assert history.load_contents([BONK, PEPE]).to_pylist() == truth
        if truth:
            assert asked_without_hashing(history, monkeypatch) == truth
        seen.append([(row["month"], row["interval"], row["content"]) for row in truth])
    # Merging changes nothing but the parts.
    assert seen[3] == seen[4]
    assert [len(months) for months in seen] == [1, 2, 3, 3, 3, 3, 2, 0]
    assert seen[4] != seen[5]


def test_tokens_are_remembered_each_by_itself(history: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in (BONK, PEPE):
        history.insert_candles(candles(token, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
    [of_bonk] = history.load_contents([BONK]).to_pylist()
    both = history.load_contents([BONK, PEPE]).to_pylist()
    assert len(both) == 2
    assert of_bonk in both
    assert asked_without_hashing(history, monkeypatch) == both


def test_parts_that_change_while_they_are_hashed_are_not_remembered(
    history: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0]))
    hashing = ClickHouseStore._hash

    def hash_early(store: ClickHouseStore, *arguments: Any) -> Any:
        found = hashing(store, *arguments)
        store.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [7.0]))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ClickHouseStore, "_hash", hash_early)
        before = history.load_contents([BONK]).to_pylist()
    truth = history.load_contents([BONK], anew=True).to_pylist()
    assert history.load_contents([BONK]).to_pylist() == truth != before


# --- locks ---


def test_names_are_held_by_one_and_the_other_is_told_that_it_waits(postgres_database: str) -> None:
    waits, order = threading.Event(), []

    def other() -> None:
        with PostgresStore(postgres_database) as second, second.exclusive_runs(["b", "c"], waits.set) as has_waited:
            order.append(("second", has_waited))

    thread = threading.Thread(target=other)
    with PostgresStore(postgres_database) as first:
        with first.exclusive_runs(["a", "b"]) as has_waited:
            order.append(("first", has_waited))
            thread.start()
            assert waits.wait(20)
            # Another name is free meanwhile.
            with first.exclusive_runs(["d"]) as is_late:
                assert not is_late
            order.append(("first", True))
        thread.join(20)
    assert order == [("first", False), ("first", True), ("second", True)]


def test_names_are_free_again_when_the_work_failed_or_its_session_died(postgres_database: str) -> None:
    with PostgresStore(postgres_database) as first, PostgresStore(postgres_database) as second:
        with pytest.raises(ZeroDivisionError), first.exclusive_runs(["a"]):
            raise ZeroDivisionError
        with second.exclusive_runs(["a"]) as has_waited:
            assert not has_waited

        def die() -> None:
            with psycopg.connect(postgres_database, autocommit=True) as killer:
                killer.execute(
                    "select pg_terminate_backend(pid) from pg_locks "
                    "where locktype = 'advisory' and database = "
                    "(select oid from pg_database where datname = current_database())"
                )

        with pytest.raises(StorageError), first.exclusive_runs(["a"]):
            die()
        with second.exclusive_runs(["a"]) as has_waited:
            assert not has_waited


def test_many_that_want_the_same_names_in_any_order_all_come_to_their_turn(postgres_database: str) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work(names: list[str]) -> None:
        nonlocal inside, most
        with PostgresStore(postgres_database) as store:
            for _ in range(5):
                with store.exclusive_runs(names):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    with lock:
                        inside -= 1

    threads = [threading.Thread(target=work, args=(names,)) for names in (["x", "y"], ["y", "x"], ["y"], ["x", "y"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    # All share y.
    assert most == 1


# --- stamps ---


def test_a_stamp_is_kept_of_completed_runs_alone_and_renewed(state: PostgresStore) -> None:
    strategy_id = store_strategy(state)
    claims = state.claim_runs([run(strategy_id, "one", "scope 1"), run(strategy_id, "two", "scope 2")])
    state.complete_runs([summary(claims[0].run_id)])
    state.stamp_runs({claim.run_id: digest("stamp") for claim in claims})

    def stamps() -> dict[int, str | None]:
        scopes = [digest("scope 1"), digest("scope 2")]
        rows = state.read("runs/load_scope_states", scope_keys=scopes).to_pylist()
        return {row["run_id"]: row["inputs_stamp"] for row in rows}

    assert stamps() == {claims[0].run_id: digest("stamp"), claims[1].run_id: None}
    state.stamp_runs({claims[0].run_id: digest("newer")})
    assert stamps()[claims[0].run_id] == digest("newer")


# --- outcomes ---


def _outcomes(state: PostgresStore, backfill_id: int) -> list[tuple[str, str, str | None]]:
    rows = state.read("backfills/load_token_months", backfill_id=backfill_id).to_pylist()
    return [(row["month"], row["status"], row["reason"]) for row in rows]


def test_outcomes_of_a_backfill_are_what_was_said_last(state: PostgresStore) -> None:
    begin: Callable[[], int] = lambda: state.begin_backfill(  # noqa: E731 - called twice
        selection_key=digest("all"), selection={"tokens": ["all"]}, token_month_count=2
    )
    first, second = begin(), begin()
    assert first < second
    state.record_token_months(
        second, [BackfilledMonth(BONK, "2025-03", None), BackfilledMonth(BONK, "2025-04", "broken\x00candle")]
    )
    # NUL, which Postgres does not store, becomes its picture.
    assert _outcomes(state, second) == [("2025-03", "done", None), ("2025-04", "failed", "broken␀candle")]
    state.finish_backfill(second)
    [found] = state.read("backfills/find_backfill", selection_key=digest("all")).to_pylist()
    assert (found["backfill_id"], found["status"]) == (second, "failed")

    state.resume_backfill(second, dagster_run_id="a run")
    state.record_token_months(second, [BackfilledMonth(BONK, "2025-04", None)])
    state.finish_backfill(second)
    assert _outcomes(state, second) == [("2025-03", "done", None), ("2025-04", "done", None)]
    [found] = state.read("backfills/find_backfill", selection_key=digest("all")).to_pylist()
    assert found["status"] == "completed"
    assert _outcomes(state, first) == []


def test_an_unknown_backfill_is_refused(state: PostgresStore) -> None:
    with pytest.raises(StorageError, match="backfill 7 is not in backfills"):
        state.finish_backfill(7)
