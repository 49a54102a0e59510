"""Servers that are away, connections that die, and what is then said and kept."""

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from stored_rows import BONK, alert, import_record

from quantbot_pipeline.errors import ConfigError, ServerError, StorageError
from quantbot_pipeline.storage import clickhouse_connection
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore

pytestmark = pytest.mark.server

PASSWORD = "open-sesame"  # noqa: S105 - stands for one


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_a_postgres_that_is_away_is_named_without_its_password(closed_port: int) -> None:
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{closed_port}/quantbot"
    with PostgresStore(url) as state, pytest.raises(ServerError) as caught:
        state.load_calls()
    assert f"Postgres at 127.0.0.1:{closed_port}" in str(caught.value)
    assert "quantbot up" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_clickhouse_that_is_away_is_named_without_its_password(closed_port: int) -> None:
    with pytest.raises(ServerError) as caught:
        ClickHouseStore(f"http://me:{PASSWORD}@127.0.0.1:{closed_port}/quantbot")
    assert f"ClickHouse at 127.0.0.1:{closed_port}" in str(caught.value)
    assert "quantbot up" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_server_of_one_s_own_that_is_away_is_not_to_be_started(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clickhouse = f"http://me:{PASSWORD}@127.0.0.1:{closed_port}/quantbot"
    postgres = f"postgresql://me:{PASSWORD}@127.0.0.1:{closed_port}/quantbot"
    monkeypatch.setenv("QUANTBOT_CLICKHOUSE_URL", clickhouse)
    monkeypatch.setenv("QUANTBOT_POSTGRES_URL", postgres)
    with pytest.raises(ServerError) as caught:
        ClickHouseStore(clickhouse)
    assert str(caught.value) == (
        f"ClickHouse at 127.0.0.1:{closed_port} does not answer 'connect': connection refused; "
        "check QUANTBOT_CLICKHOUSE_URL, and the server"
    )
    with PostgresStore(postgres) as state, pytest.raises(ServerError, match="check QUANTBOT_POSTGRES_URL") as caught:
        state.load_calls()
    assert "quantbot up" not in str(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "reason"), [("close", "connection reset"), ("reset", "connection reset"), ("silence", "timed out")]
)
def test_why_a_clickhouse_does_not_answer_is_said_in_two_words(
    behaviour: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clickhouse_connection, "SEND_RECEIVE_TIMEOUT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted.append(connection)
                if behaviour == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if behaviour != "silence":
                    connection.recv(1)
                    connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(ServerError, match=f"ClickHouse at 127.0.0.1:{port} does not answer 'connect': {reason};"):
            ClickHouseStore(f"http://127.0.0.1:{port}/x")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for connection in accepted:
            connection.close()


@pytest.mark.parametrize("url", [f"postgresql//me:{PASSWORD}@host", f"host=a password={PASSWORD} nonsense"])
def test_a_malformed_postgres_url_is_refused_without_repeating_it(url: str) -> None:
    with PostgresStore(url) as state, pytest.raises(ServerError, match="can't be read") as caught:
        state.load_calls()
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("url", [f"clickhouse://me:{PASSWORD}@host", f"http://me:{PASSWORD}@host:x/", "x"])
def test_a_malformed_clickhouse_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ServerError, match="can't be read") as caught:
        ClickHouseStore(url)
    assert PASSWORD not in str(caught.value)


def test_migrating_without_servers_says_so(closed_port: int) -> None:
    with pytest.raises(ServerError, match=f"127.0.0.1:{closed_port}"):
        migrate(f"postgresql://127.0.0.1:{closed_port}/a", f"http://127.0.0.1:{closed_port}/a")


def test_a_wrong_clickhouse_password_is_said(clickhouse_database: str) -> None:
    head, at, tail = clickhouse_database.rpartition("@")
    with pytest.raises(ServerError, match=r"does not let user .* in") as caught:
        ClickHouseStore(f"{head.rsplit(':', 1)[0]}:{PASSWORD}{at}{tail}")
    assert PASSWORD not in str(caught.value)


def test_an_unknown_query_is_an_error_of_configuration(state: PostgresStore, history: ClickHouseStore) -> None:
    for store in (state, history):
        with pytest.raises(ConfigError, match="counts/no_such_query"):
            store.read("counts/no_such_query")
        with pytest.raises(ConfigError, match="not of the form"):
            store.read("../../etc/passwd")


def test_a_refused_query_is_named_with_the_server_s_words(state: PostgresStore, history: ClickHouseStore) -> None:
    with pytest.raises(StorageError, match="postgres query 'optimization/load_trials' failed: invalid input"):
        state.read("optimization/load_trials", job_id="seven")
    with pytest.raises(StorageError, match=r"clickhouse query 'features/load_scores' failed: .*Code: "):
        history.read("features/load_scores", model_id="seven")


def test_bytes_that_are_no_text_find_nothing(state: PostgresStore, history: ClickHouseStore) -> None:
    """What a terminal of another encoding hands over ended in a stack trace of the driver."""
    assert state.load_models("\udcff") == []
    assert state.load_strategies(["\udcff"]) == []
    assert history.read("features/load_features", feature_set="\udcff").num_rows == 0
    assert history.load_call_scores(["\udcff"], [1]).num_rows == 0


def test_a_clickhouse_without_the_database_says_so(clickhouse_database: str) -> None:
    """It was told as an old schema, with advice that led to the same message."""
    with pytest.raises(ServerError, match="has no database 'nowhere'; have it created"):
        ClickHouseStore(f"{clickhouse_database.rpartition('/')[0]}/nowhere").load_coverage()


def test_a_store_goes_on_after_the_server_closed_its_idle_connections(
    state: PostgresStore, postgres_database: str
) -> None:
    state.upsert_tokens({BONK: None})
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        killed = connection.execute(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone()
    assert killed is not None
    assert killed[0] >= 1
    assert len(state.upsert_tokens({BONK: None})) == 1


@pytest.mark.parametrize("table", ["alerts", "quarantine"])
def test_a_connection_that_dies_in_the_middle_leaves_nothing(
    state: PostgresStore, postgres_database: str, table: str
) -> None:
    record = import_record("file", stored=2, refused=1)

    with (
        psycopg.connect(postgres_database) as blocker,
        psycopg.connect(postgres_database, autocommit=True) as killer,
        ThreadPoolExecutor(1) as pool,
    ):
        # The write stops at this table: tokens, callers and the import are written and not committed.
        blocker.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(table)))
        writing = pool.submit(state.store_alerts, [alert(1), alert(2)], record)
        deadline = time.monotonic() + 20
        killed = 0
        while not killed and time.monotonic() < deadline:
            found = killer.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where datname = current_database() and wait_event_type = 'Lock'"
            ).fetchone()
            killed = found[0] if found else 0
        assert killed == 1
        with pytest.raises(ServerError, match="nothing of the transaction was kept"):
            writing.result(timeout=20)
        blocker.rollback()

    counts = state.read("counts/count_state").to_pylist()[0]
    assert {name: value for name, value in counts.items() if value} == {}
    assert state.find_import("alerts", record.sha256, "") is None
    assert state.store_alerts([alert(1), alert(2)], record) == (2, 0)


def test_closing_a_store_twice_is_harmless(state: PostgresStore, history: ClickHouseStore) -> None:
    state.load_calls()
    for store in (state, history):
        store.close()
        store.close()
    assert state.load_calls() == []
