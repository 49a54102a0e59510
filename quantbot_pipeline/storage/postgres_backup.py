"""What a backup asks of a Postgres database besides its copy: one view of it that stays, its counts, making room.

The copy itself is made by `servers.postgres_dump`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from quantbot_pipeline.storage.postgres_connection import (
    Connection,
    PostgresConnections,
    PostgresTransaction,
    connect,
    describe_server,
)

# A session that somebody keeps open would block a restore for ever.
_LOCK_TIMEOUT = "10s"


@dataclass(frozen=True, slots=True)
class NewestIds:
    """Newest ids that rows in ClickHouse may refer to; 0 where there are none."""

    call_id: int
    model_id: int


class PostgresSnapshot:
    """What one read-only transaction sees, however long it stays open. Made by `open_snapshot`."""

    def __init__(self, connection: Connection, server: str) -> None:
        self._connection = connection
        self._transaction = PostgresTransaction(connection, server)

    def name(self) -> str:
        """Return the name under which `pg_dump` sees the same."""
        row = self._transaction.fetch_row("backup/export_snapshot")
        return "" if row is None else str(row["snapshot"])

    def server_version(self) -> str:
        """Return the server's version."""
        row = self._transaction.fetch_row("backup/load_server_version")
        return "" if row is None else str(row["server_version"])

    def count_rows(self) -> dict[str, int]:
        """Return the rows of every table, by `schema.table`."""
        return _count_rows(self._connection, self._transaction)

    def completed_run_ids(self) -> list[int]:
        """Return the runs that readers may see, in order."""
        return [row["run_id"] for row in self._transaction.fetch_rows("backup/load_completed_runs")]

    def newest_ids(self) -> NewestIds:
        """Return the newest ids of calls and models."""
        row = self._transaction.fetch_row("backup/load_newest_ids") or {"call_id": 0, "model_id": 0}
        return NewestIds(row["call_id"], row["model_id"])


@contextmanager
def backing_up(url: str) -> Iterator[None]:
    """Hold the turn at backing up a database; another process's backup is waited for."""
    with _locked(url, "backup/lock_backups", "backup/unlock_backups"):
        yield


@contextmanager
def no_candle_import(url: str) -> Iterator[None]:
    """Keep imports of candles waiting; one that is at work is waited for."""
    with _locked(url, "imports/lock_imports", "imports/unlock_imports"):
        yield


@contextmanager
def _locked(url: str, lock: str, unlock: str) -> Iterator[None]:
    with closing(PostgresConnections(url)) as connections, connections.locked(lock, unlock):
        yield


@contextmanager
def open_snapshot(url: str) -> Iterator[PostgresSnapshot]:
    """Yield a view of a database that no writer changes.

    Raises:
        ServerError: the server is out of reach.
    """
    with closing(connect(url)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            yield PostgresSnapshot(connection, describe_server(url))


def count_rows(url: str) -> dict[str, int]:
    """Return the rows of every table of a database, by `schema.table`."""
    with closing(connect(url)) as connection:
        return _count_rows(connection, PostgresTransaction(connection, describe_server(url)))


def count_other_sessions(url: str) -> int:
    """Return how many clients are connected to a database besides the one that asks."""
    with closing(connect(url)) as connection:
        row = PostgresTransaction(connection, describe_server(url)).fetch_row("backup/count_other_sessions")
        return 0 if row is None else int(row["sessions"])


def drop_everything(url: str) -> None:
    """Leave nothing in a database but an empty schema `public`.

    Raises:
        StorageError: the server refuses, or another session keeps a table locked.
    """
    with closing(connect(url)) as connection:
        transaction = PostgresTransaction(connection, describe_server(url))
        try:
            with connection.transaction():
                connection.execute("select set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
                for row in transaction.fetch_rows("backup/list_schemas"):
                    connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(row["schema_name"])))
                connection.execute("create schema public")
        except psycopg.Error as error:
            raise transaction.translated(error, "drop schema") from error


def finish_restored(url: str, *, old_models_uri: str | None = None, models_uri: str | None = None) -> None:
    """Collect the planner's statistics, which a copy does not hold, and point models to their files.

    Args:
        url: A database that was filled from a copy.
        old_models_uri: Folder of models when the copy was made, `file://…/`; None where there is nothing to point.
        models_uri: Folder of models now, the same.
    """
    with closing(connect(url)) as connection:
        transaction = PostgresTransaction(connection, describe_server(url))
        if old_models_uri is not None and models_uri is not None:
            transaction.execute("backup/move_model_files", old_folder_uri=old_models_uri, folder_uri=models_uri)
        connection.execute("analyze")


def _count_rows(connection: Connection, transaction: PostgresTransaction) -> dict[str, int]:
    counts = {}
    for row in transaction.fetch_rows("backup/list_tables"):
        schema, table = row["schema_name"], row["table_name"]
        found = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table))).fetchone()
        counts[f"{schema}.{table}"] = 0 if found is None else int(found[0])
    return counts
