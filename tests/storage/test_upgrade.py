"""Upgrading in place: rows that earlier schemas hold are all there after `migrate`, and work goes on with them."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg
import pytest
from conftest import DatabaseUrls
from psycopg import sql

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import check_migrations, migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows.back_up import back_up
from quantbot_pipeline.workflows.restore import check_backup, restore

pytestmark = pytest.mark.server

# One of everything that the first schema in the hands of users held, by its own columns.
EARLIER_STATE = """
insert into tokens (chain, address, symbol) values ('binance', 'BONK_USDT', 'BONK');
insert into callers (source, handle) values ('file', 'alice');
insert into strategies (name, version, category, description, config_json, config_hash)
values ('first', '1', '', '', '{"name": "first"}', repeat('a', 64));
insert into imports (
    kind, file, sha256, options_key, status, rows_read, rows_stored, rows_duplicate, rows_quarantined, details_json,
    imported_at
)
values ('alerts', 'alerts.csv', repeat('b', 64), '', 'completed', 3, 2, 0, 1, '{}', now());
insert into alerts (
    token_id, caller_id, side, signal_type, alert_price, alert_timestamp, content_key, raw_payload_json, import_id
)
values
(1, 1, 'buy', 'entry', 1.5e-12, '2025-03-01T00:03Z', repeat('c', 64), '{"row": 1}', 1),
(1, 1, 'buy', 'entry', null, '2025-03-01T00:40Z', repeat('d', 64), '{"row": 2}', 1);
insert into quarantine (import_id, file, line, field, reason, raw_text)
values (1, 'alerts.csv', 3, 'price', 'not a number', 'x');
insert into calls (alert_id, token_id, caller_id, side, signal_type, signal_timestamp)
select id, token_id, caller_id, side, signal_type, alert_timestamp from alerts;
insert into simulation_runs (
    strategy_id, token_id, run_type, engine_version, config_hash, config_json, data_selection_json, run_key, scope_key,
    window_start, window_end, status, events_digest, completed_at
)
values (
    1, 1, 'backtest', '1', repeat('a', 64), '{}', '{}', repeat('e', 64), repeat('f', 64),
    '2025-03-01Z', '2025-04-01Z', 'completed', 'digest', now()
);
insert into simulation_results_summary (
    simulation_run_id, final_pnl, trade_count, reentry_count, ladder_entries_used, ladder_exits_used
)
values (1, 0.1, 2, 0, 0, 2);
insert into optimization_jobs (strategy_template_id, name, search_space_json, objective, job_key, status)
values (1, 'job', '{}', 'pnl', 'key', 'running');
insert into ml_models (
    name, version, model_type, input_features_json, label_definition, storage_uri, sha256, metrics_json, status
)
values ('take', '1', 'test', '[]', '{}', 'file:///models/take', repeat('0', 64), '{}', 'ready');
"""

EARLIER_HISTORY = (
    "insert into ohlcv_candles (chain, token_address, interval, timestamp, open, high, low, close, volume) "
    "select 'binance', 'BONK_USDT', '1m', toDateTime('2025-03-01 00:00:00', 'UTC') + 60 * number, 1, 2, 0.5, 1.5, 7 "
    "from numbers(120)",
    "insert into simulation_events (simulation_run_id, call_id, seq, event_time) "
    "select 1, 1 + intDiv(number, 2), number % 2, now() from numbers(4)",
    "insert into simulation_aggregates (simulation_run_id, chain, token_address, final_pnl, trade_count) "
    "select 1, 'binance', 'BONK_USDT', 0.1, 2",
    "insert into ml_scores (model_id, call_id, score) select 1, 1, 0.5",
)


def _earlier(folder: Path, postgres: int, clickhouse: int) -> Path:
    """Make a folder with the migrations up to two numbers."""
    for database, newest in (("postgres", postgres), ("clickhouse", clickhouse)):
        (folder / database).mkdir()
        for path in sorted(project_file(f"sql/{database}").glob("*.sql")):
            if int(path.name[:3]) <= newest:
                shutil.copy(path, folder / database)
    return folder


def _state(url: str, columns: dict[str, list[str]] | None = None) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the columns of every table of Postgres, and its rows in these columns, or in those that are given."""
    with psycopg.connect(url) as connection:
        if columns is None:
            columns = {}
            for table, column in connection.execute(
                "select table_name, column_name from information_schema.columns "
                "where table_schema = 'public' and table_name <> 'schema_migrations' "
                "and table_name in (select tablename from pg_tables) order by 1, 2"
            ):
                columns.setdefault(table, []).append(column)
        rows = {}
        for table, names in columns.items():
            query = sql.SQL("select {} from {} order by 1, 2").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table)
            )
            rows[table] = sorted(map(str, connection.execute(query).fetchall()))
    return columns, rows


def _history(url: str, columns: dict[str, list[str]] | None = None) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the same of ClickHouse."""
    with closing(clickhouse_connect.get_client(dsn=url)) as client:
        if columns is None:
            columns = {}
            for table, column in client.query(
                "select table, name from system.columns where database = currentDatabase() "
                "and table <> 'schema_migrations' order by 1, 2"
            ).result_rows:
                columns.setdefault(table, []).append(column)
        rows = {}
        for table, names in columns.items():
            selected = ", ".join(f"`{name}`" for name in names)
            query = f"select {selected} from {table} final"  # noqa: S608 - names of the schema
            rows[table] = sorted(map(str, client.query(query).result_rows))
    return columns, rows


@pytest.mark.parametrize(("postgres", "clickhouse"), [(5, 4)])
def test_an_earlier_schema_is_upgraded_in_place_and_loses_nothing(
    fresh_databases: Callable[[], AbstractContextManager[DatabaseUrls]],
    tmp_path: Path,
    postgres: int,
    clickhouse: int,
) -> None:
    with fresh_databases() as urls:
        _fill_earlier(urls, _earlier(tmp_path, postgres, clickhouse))
        state_columns, state_before = _state(urls.postgres)
        history_columns, history_before = _history(urls.clickhouse)
        assert sum(map(len, state_before.values())) == 13
        assert sum(map(len, history_before.values())) == 120 + 4 + 1 + 1
        assert check_migrations(urls.postgres, urls.clickhouse)

        applied = migrate(urls.postgres, urls.clickhouse)

        assert (applied[0].database, applied[0].number) == ("postgres", postgres + 1)
        assert check_migrations(urls.postgres, urls.clickhouse) == []
        assert _state(urls.postgres, state_columns)[1] == state_before
        assert _history(urls.clickhouse, history_columns)[1] == history_before
        assert migrate(urls.postgres, urls.clickhouse) == []
        _work_on(urls)


@pytest.mark.deep
def test_a_backup_of_an_earlier_schema_is_restored_into_the_current_one(
    fresh_databases: Callable[[], AbstractContextManager[DatabaseUrls]], tmp_path: Path
) -> None:
    (tmp_path / "sql").mkdir()
    with fresh_databases() as urls, fresh_databases() as other, fresh_databases() as dagster:
        _fill_earlier(urls, _earlier(tmp_path / "sql", 5, 4))
        state_columns, state_before = _state(urls.postgres)
        history_columns, history_before = _history(urls.clickhouse)
        settings = load_settings(home=tmp_path / "home", postgres_url=None, clickhouse_url=None)
        back_up(settings, ServerUrls(urls.postgres, dagster.postgres, urls.clickhouse), tmp_path / "backup")

        # Nothing of the backed up databases was brought up to date.
        assert check_migrations(urls.postgres, urls.clickhouse)
        done = restore(
            tmp_path / "backup",
            check_backup(tmp_path / "backup"),
            settings,
            ServerUrls(other.postgres, dagster.postgres, other.clickhouse),
        )

        assert done.migrations_applied[0] == "postgres 006_derive_calls_anew"
        assert "clickhouse 005_add_candle_flags" in done.migrations_applied
        assert check_migrations(other.postgres, other.clickhouse) == []
        assert _state(other.postgres, state_columns)[1] == state_before
        # The mirror of the state is written anew.
        mirrored = {"published_runs", "published_calls"}
        columns = {table: names for table, names in history_columns.items() if table not in mirrored}
        assert _history(other.clickhouse, columns)[1] == {table: history_before[table] for table in columns}
        _work_on(other)


def _fill_earlier(urls: DatabaseUrls, directory: Path) -> None:
    migrate(urls.postgres, urls.clickhouse, directory=directory)
    with psycopg.connect(urls.postgres, autocommit=True) as connection:
        connection.execute(EARLIER_STATE.encode())
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as client:
        for statement in EARLIER_HISTORY:
            client.command(statement)


def _work_on(urls: DatabaseUrls) -> None:
    """Read as the current version does, and write."""
    token = TokenKey("binance", "BONK_USDT")
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        calls = state.load_calls()
        assert [call.token for call in calls] == [token, token]
        [run] = state.load_published_runs().to_pylist()
        assert (run["simulation_run_id"], run["is_current"]) == (1, True)
        history.publish(state.load_published_runs(), state.load_published_calls())
        candles = history.load_candles({token: (0, 2**32 - 1)})[token]
        assert isinstance(candles, Candles)
        assert len(candles) == 120
        assert state.upsert_tokens({token: None, TokenKey("binance", "PEPE_USDT"): None})[token] == 1
