"""Migrations: numbered files in `sql/postgres` and `sql/clickhouse`, applied once each, in order.

One advisory lock in Postgres covers both databases. A Postgres migration is one transaction together with
the record of it. ClickHouse has no transactions: its statements are idempotent each, so a migration that was
interrupted is run again as a whole. The checksum of every applied file is kept, and a file that was changed
afterwards is refused: databases that applied it earlier would differ from those that apply it now.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import psycopg
import pyarrow as pa

from quantbot_pipeline.errors import MigrationError, StorageError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.postgres_connection import Connection, PostgresTransaction, connect, describe_server
from quantbot_pipeline.storage.sql_files import Database, load_sql, split_statements

_FILE_NAME = re.compile(r"(?P<number>\d{3})_(?P<what>[a-z0-9_]+)\.sql")

DATABASES: tuple[Database, ...] = ("postgres", "clickhouse")


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """A migration that `migrate` has just applied."""

    database: Database
    number: int
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PendingOrWrong:
    """A migration on which files and database disagree; `message` says what was found and what to do."""

    database: Database
    number: int
    name: str
    problem: Literal["pending", "changed", "unknown", "skipped"]
    message: str


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One numbered SQL file."""

    database: Database
    number: int
    name: str
    sql: str
    sha256: str


class _Ledger(Protocol):
    """One database, as far as migrations go."""

    def applied(self) -> dict[int, tuple[str, str]]: ...
    def apply(self, migration: MigrationFile) -> None: ...


def migrate(
    postgres_url: str,
    clickhouse_url: str,
    *,
    on_progress: Callable[[AppliedMigration], None] | None = None,
    directory: Path | None = None,
) -> list[AppliedMigration]:
    """Bring both databases to the schema of `sql/`; waits for another process that does.

    Args:
        postgres_url: The state database.
        clickhouse_url: The history database.
        on_progress: Called after each applied migration.
        directory: Folder with `postgres/` and `clickhouse/`; the project's `sql/` without it.

    Returns:
        What was applied, in order; empty when everything was there.

    Raises:
        MigrationError: an applied file was changed, or a database has migrations that the files lack;
            nothing was applied. Or a migration failed; those before it stay.
        ServerError: a server is out of reach.
    """
    files = {database: read_migrations(database, directory) for database in DATABASES}
    done: list[AppliedMigration] = []
    with _open(postgres_url, clickhouse_url) as (postgres, clickhouse):
        postgres.connection.execute(load_sql("postgres", "migrations/lock_migrations").encode())
        ledgers: dict[Database, _Ledger] = {"postgres": postgres, "clickhouse": clickhouse}
        postgres.create()
        clickhouse.create()
        found = [
            problem
            for database in DATABASES
            for problem in _compare(files[database], ledgers[database].applied(), database)
        ]
        for problem in found:
            if problem.problem != "pending":
                raise MigrationError(problem.message)
        pending = {(problem.database, problem.number) for problem in found}
        for database in DATABASES:
            for file in files[database]:
                if (database, file.number) in pending:
                    ledgers[database].apply(file)
                    applied = AppliedMigration(database, file.number, file.name, file.sha256)
                    done.append(applied)
                    if on_progress is not None:
                        on_progress(applied)
    return done


def check_migrations(postgres_url: str, clickhouse_url: str, *, directory: Path | None = None) -> list[PendingOrWrong]:
    """Return where the databases and the files of `sql/` disagree; empty when they agree. Changes nothing.

    Raises:
        ServerError: a server is out of reach.
    """
    with _open(postgres_url, clickhouse_url) as (postgres, clickhouse):
        ledgers: dict[Database, _Ledger] = {"postgres": postgres, "clickhouse": clickhouse}
        return [
            problem
            for database in DATABASES
            for problem in _compare(read_migrations(database, directory), ledgers[database].applied(), database)
        ]


def applied_migrations(postgres_url: str, clickhouse_url: str) -> dict[Database, dict[int, tuple[str, str]]]:
    """Return what was applied to both databases: name and sha256 by number.

    Raises:
        ServerError: a server is out of reach.
    """
    with _open(postgres_url, clickhouse_url) as (postgres, clickhouse):
        return {"postgres": postgres.applied(), "clickhouse": clickhouse.applied()}


def create_history(clickhouse_url: str, *, newest: int) -> None:
    """Bring an empty ClickHouse database to an earlier schema, for rows that were copied from one.

    Args:
        clickhouse_url: A database without tables.
        newest: Number of the last migration to apply.

    Raises:
        MigrationError: a migration failed; those before it stay.
        ServerError: the server is out of reach.
    """
    with closing(ClickHouseConnection(clickhouse_url)) as connection:
        ledger = _ClickHouseLedger(connection)
        ledger.create()
        for file in read_migrations("clickhouse"):
            if file.number <= newest:
                ledger.apply(file)


def read_migrations(database: Database, directory: Path | None = None) -> list[MigrationFile]:
    """Return the migration files of a database in order.

    Raises:
        MigrationError: a file is not named `NNN_<what>.sql`, or the numbers are not 1, 2, 3, …
    """
    folder = (directory or project_file("sql")) / database
    files: list[MigrationFile] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path}: a migration is named NNN_<what>.sql with what in a-z, 0-9 and '_'")
        content = path.read_bytes()
        files.append(
            MigrationFile(
                database=database,
                number=int(match["number"]),
                name=path.stem,
                sql=content.decode("utf-8"),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )
    for expected, file in enumerate(files, start=1):
        if file.number != expected:
            raise MigrationError(
                f"{folder / file.name}.sql: migrations are numbered 001, 002, … without gaps and doubles; "
                f"{expected:03d} was expected here"
            )
    return files


class _PostgresLedger:
    def __init__(self, connection: Connection, server: str) -> None:
        self.connection = connection
        self._transaction = PostgresTransaction(connection, server)

    def create(self) -> None:
        self._transaction.execute("migrations/create_schema_migrations")

    def applied(self) -> dict[int, tuple[str, str]]:
        there = self._transaction.fetch_row("migrations/find_schema_migrations")
        if there is None or not there["is_there"]:
            return {}
        rows = self._transaction.fetch_rows("migrations/load_schema_migrations")
        return {row["number"]: (row["name"], row["sha256"]) for row in rows}

    def apply(self, migration: MigrationFile) -> None:
        try:
            with self.connection.transaction():
                self.connection.execute(migration.sql.encode())
                self._transaction.execute(
                    "migrations/insert_schema_migration",
                    number=migration.number,
                    name=migration.name,
                    sha256=migration.sha256,
                )
        except psycopg.Error as error:
            raise MigrationError(_not_kept(migration, self._transaction.translated(error, migration.name))) from error
        except StorageError as error:
            raise MigrationError(_not_kept(migration, error)) from error


def _not_kept(migration: MigrationFile, problem: StorageError) -> str:
    return f"postgres migration {migration.name}: {problem}; nothing of it was kept"


class _ClickHouseLedger:
    def __init__(self, connection: ClickHouseConnection) -> None:
        self._connection = connection

    def create(self) -> None:
        self._connection.run("migrations/create_schema_migrations")

    def applied(self) -> dict[int, tuple[str, str]]:
        if not self._connection.read("migrations/find_schema_migrations")["is_there"][0].as_py():
            return {}
        rows = self._connection.read("migrations/load_schema_migrations").to_pylist()
        return {row["number"]: (row["name"], row["sha256"]) for row in rows}

    def apply(self, migration: MigrationFile) -> None:
        for position, statement in enumerate(split_statements(migration.sql), start=1):
            self._connection.command(statement, name=f"migration {migration.name}, statement {position}")
        self._connection.insert_table(
            "schema_migrations",
            pa.table(
                {
                    "number": pa.array([migration.number], pa.uint32()),
                    "name": [migration.name],
                    "sha256": [migration.sha256],
                }
            ),
        )


@contextmanager
def _open(postgres_url: str, clickhouse_url: str) -> Iterator[tuple[_PostgresLedger, _ClickHouseLedger]]:
    with connect(postgres_url) as connection, closing(ClickHouseConnection(clickhouse_url)) as clickhouse:
        yield _PostgresLedger(connection, describe_server(postgres_url)), _ClickHouseLedger(clickhouse)


def _compare(
    files: Sequence[MigrationFile], applied: dict[int, tuple[str, str]], database: Database
) -> Iterator[PendingOrWrong]:
    by_number = {file.number: file for file in files}
    newest = max(applied, default=0)
    for number in sorted(by_number.keys() | applied.keys()):
        file = by_number.get(number)
        if file is None:
            name, _ = applied[number]
            yield PendingOrWrong(
                database,
                number,
                name,
                "unknown",
                f"{database} has migration {name}, which these files lack: the database was migrated by a "
                "newer version; install that version, or use another database",
            )
        elif number not in applied and number < newest:
            yield PendingOrWrong(
                database,
                number,
                file.name,
                "skipped",
                f"{database} lacks migration {file.name} but has later ones; migrations are only added at "
                "the end: give the file the next free number",
            )
        elif number not in applied:
            yield PendingOrWrong(
                database,
                number,
                file.name,
                "pending",
                f"{database} lacks migration {file.name}; run 'quantbot migrate'",
            )
        elif applied[number] != (file.name, file.sha256):
            name, sha256 = applied[number]
            yield PendingOrWrong(
                database,
                number,
                file.name,
                "changed",
                f"{database} migration {file.name} was changed after it was applied: applied was {name} with "
                f"sha256 {sha256[:12]}…, the file has {file.sha256[:12]}…; restore the file and put the "
                "change into a new migration",
            )
