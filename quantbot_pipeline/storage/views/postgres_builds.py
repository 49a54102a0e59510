"""Builds of views in Postgres: the schema `view_builds`, and the views of `public` that show the newest ones."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import psycopg
import pyarrow as pa
from psycopg import sql

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.storage.postgres_connection import Connection, PostgresTransaction, connect, describe_server
from quantbot_pipeline.storage.views.files import ViewTest, refusal
from quantbot_pipeline.storage.views.rendering import View
from quantbot_pipeline.storage.views.states import (
    Build,
    Contents,
    OutputColumn,
    Publication,
    PublishedView,
    build_name_in,
    first_line,
)
from quantbot_pipeline.storage.views.testing import ACCEPTED_VALUES, failures_statement

READER_ROLE = "quantbot_reader"

_BUILDS = "view_builds"
_LOCK_TIMEOUT = "5s"
_LOCK_ATTEMPTS = 6
_SESSIONS_SHOWN = 3


class PostgresBuilds:
    """Views of one Postgres database.

    Args:
        url: `postgresql://user:password@host:port/database`.

    Raises, in every method: StorageError where the database refuses a statement (MigrationError where it lacks a
    table), ServerError where it is out of reach.
    """

    def __init__(self, url: str) -> None:
        self._connection: Connection = connect(url)
        self._transaction = PostgresTransaction(self._connection, describe_server(url))

    def close(self) -> None:
        """End the connection, and with it the lock."""
        self._connection.close()

    def take_lock(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Wait until nobody else builds views; held until `close`.

        Args:
            on_wait: Told before it waits, if it has to.
        """
        (row,) = self._transaction.fetch_rows("views/try_lock")
        if not row["is_taken"]:
            on_wait()
            self._transaction.fetch_rows("views/take_lock")
        # A builder that died in the midst of a statement holds the lock until the server looks for it.
        self._run("set client_connection_check_interval = '2s'")
        # Behind a change that waits for a lock, every reader of the view waits too, so it gives up soon.
        self._run(f"set lock_timeout = '{_LOCK_TIMEOUT}'")

    def prepare(self) -> None:
        """Make the schema of builds, and remove what an interrupted build left on trial."""
        self._run(f"create schema if not exists {_BUILDS}")
        if self._has_reader():
            # A schema that a restore made anew grants nobody anything.
            self._run(f"grant usage on schema public to {READER_ROLE}")
        for build in self.builds().values():
            if build.is_on_trial:
                self.drop_build(build)

    def builds(self) -> dict[str, Build]:
        """Return what the schema of builds holds, by name."""
        return {
            row["build_name"]: Build(row["build_name"], is_table=row["is_table"], definition=row["definition"])
            for row in self._transaction.fetch_rows("views/find_builds")
        }

    def published(self) -> dict[str, PublishedView]:
        """Return the views that people read, by name."""
        return {
            row["view_name"]: PublishedView(
                row["view_name"],
                build_name_in(row["definition"]),
                (row["view_comment"], *row["column_comments"]),
                is_readable=row["is_readable"],
            )
            for row in self._transaction.fetch_rows("views/find_published")
        }

    def contents(self, tables: Sequence[str]) -> Contents | None:
        """Return None: Postgres does not tell in time whether a table changed, so tables are filled at every build."""
        del tables
        return None

    def source_address(self, name: str) -> str:
        """Return the quoted address of a table of the migrations, or of a published view."""
        return f'"public"."{name}"'

    def build_address(self, build_name: str) -> str:
        """Return the quoted address of a build."""
        return f'"{_BUILDS}"."{build_name}"'

    def create(self, view: View, build_name: str, select: str, contents: Contents | None) -> None:
        """Create a view's build, with its rows where it is a table."""
        del contents
        if called := self._volatile_functions(select):
            line = next((line for name in called if (line := view.line_of(name)) is not None), None)
            raise refusal(view.path, line, f"the select {_calls(called)}")
        kind = "table" if view.materialized == "table" else "view"
        self._run(f"create {kind} {self.build_address(build_name)} as\n{select}")
        if view.materialized == "table":
            for index in view.file.indexes:
                columns = ", ".join(f'"{name}"' for name in index)
                self._run(f"create index on {self.build_address(build_name)} ({columns})")
            self._run(f"analyze {self.build_address(build_name)}")

    def accept(self, trial_name: str, build: Build) -> None:
        """Give a build that passed its tests its name; take the place of one that is there."""
        with self._own_answers(), self._connection.transaction():
            if build.name in self.builds():
                # Views name a table by its number, not by its name: the rows move, the table stays.
                self._run(f"delete from {self.build_address(build.name)}")  # noqa: S608 - quoted identifiers
                self._run(f"insert into {self.build_address(build.name)} table {self.build_address(trial_name)}")
                self.drop_build(Build(trial_name, is_table=True))
            else:
                kind = "table" if build.is_table else "view"
                self._run(f'alter {kind} {self.build_address(trial_name)} rename to "{build.name}"')

    def columns(self, build_name: str) -> list[OutputColumn]:
        """Return the columns of a build."""
        return [
            OutputColumn(row["column_name"], row["column_type"])
            for row in self._transaction.fetch_rows("views/find_columns", build_name=build_name)
        ]

    def count_rows(self, address: str) -> int:
        """Return how many rows a view or table has."""
        row = self._run(f"select count(*) from {address}").fetchone()  # noqa: S608 - a quoted identifier
        return int(str(row[0])) if row else 0

    def count_failures(self, test: ViewTest, address: str, addresses: Mapping[str, str]) -> int:
        """Return how many rows break a test."""
        return int(str(self._failures(test, address, addresses)[0][0]))

    def first_failures(
        self, test: ViewTest, address: str, addresses: Mapping[str, str], shown: Sequence[str]
    ) -> list[tuple[str | None, ...]]:
        """Return columns, as texts, of the first rows (of `unique`: keys) that break a test."""
        rows = self._failures(test, address, addresses, shown)
        return [tuple(None if value is None else str(value) for value in row) for row in rows]

    def _failures(
        self, test: ViewTest, address: str, addresses: Mapping[str, str], shown: Sequence[str] = ()
    ) -> list[tuple[object, ...]]:
        statement = failures_statement(
            "postgres", test, address, lambda name: addresses.get(name, self.source_address(name)), shown=shown
        )
        if test.expression:
            self._refuse_volatile_functions(statement)
        # A per cent sign would begin a parameter.
        text = statement.replace("%", "%%").replace(ACCEPTED_VALUES, "%(values)s")
        return self._run(text, {"values": list(test.values)}).fetchall()

    def current_runs(self) -> pa.Table:
        """Return the current backtests, by id."""
        return self._transaction.fetch_table("views/load_current_runs")

    def read_rows(self, address: str, expressions: Sequence[str]) -> Iterator[tuple[object, ...]]:
        """Yield what expressions of the project's files come to, row by row; the server keeps what is not read yet."""
        # Quoted identifiers and the project's own SQL.
        statement = f"select {', '.join(expressions)} from {address}"  # noqa: S608 - see above
        self._refuse_volatile_functions(f"select row({', '.join(expressions)}) is null as asked from {address}")  # noqa: S608
        with (
            self._own_answers(),
            self._connection.transaction(),
            self._connection.cursor(name="rows_of_a_view") as cursor,
        ):
            yield from cursor.execute(_own(statement))

    def publish(self, publications: Sequence[Publication]) -> dict[str, str]:
        """Let the views that people read show new builds, all of them at once.

        Returns:
            By view, why it could not be changed; those keep what they showed.
        """
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            refused: dict[str, str] = {}
            with self._own_answers():
                try:
                    with self._connection.transaction():
                        # Views of before this schema read each other: the last ones let go first.
                        for publication in reversed(publications):
                            self._publish(publication, refused)
                except psycopg.errors.LockNotAvailable:
                    if attempt == _LOCK_ATTEMPTS:
                        raise
                else:
                    return refused
        return {}

    def _publish(self, publication: Publication, refused: dict[str, str]) -> None:
        view, address = publication.view, f'"public"."{publication.view.name}"'
        columns = ", ".join(f'"{column.name}"' for column in publication.columns)
        select = f"select {columns} from {self.build_address(publication.build_name)}"  # noqa: S608 - identifiers
        try:
            with self._connection.transaction():
                try:
                    with self._connection.transaction():
                        self._connection.execute(_own(f"create or replace view {address} as {select}"))
                except psycopg.errors.InvalidTableDefinition:
                    # Postgres replaces a view only while its first columns stay as they are.
                    self._connection.execute(_own(f"drop view {address}"))
                    self._connection.execute(_own(f"create view {address} as {select}"))
                self._comment(view, address, publication.columns)
                if self._has_reader():
                    self._connection.execute(_own(f"grant select on {address} to {READER_ROLE}"))
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = (error.diag.message_detail or "").replace("\n", "; ")
            refused[view.name] = (
                f"its columns changed and what is not the project's depends on it: {detail}; drop that, build the "
                "views, and create it again"
            )
        except psycopg.errors.LockNotAvailable:
            raise
        except psycopg.Error as error:
            refused[view.name] = first_line(error)

    def _comment(self, view: View, address: str, columns: Sequence[OutputColumn]) -> None:
        self._connection.execute(sql.SQL("comment on view {} is {}").format(_own(address), sql.Literal(view.comment)))
        meanings = {column.name: column.comment for column in view.columns}
        for column in columns:
            self._connection.execute(
                sql.SQL("comment on column {} is {}").format(
                    _own(f'{address}."{column.name}"'), sql.Literal(meanings[column.name])
                )
            )

    def unpublish(self, name: str) -> str | None:
        """Drop a view that has no file any more; return why it could not be."""
        with self._own_answers():
            try:
                self._connection.execute(_own(f'drop view "public"."{name}"'))
            except psycopg.errors.DependentObjectsStillExist as error:
                return (error.diag.message_detail or first_line(error)).replace("\n", "; ")
        return None

    def drop_build(self, build: Build) -> None:
        """Drop one build; one that somebody reads or built upon stays for another time."""
        kind = "table" if build.is_table else "view"
        with self._own_answers(), suppress(psycopg.errors.DependentObjectsStillExist, psycopg.errors.LockNotAvailable):
            self._connection.execute(_own(f"drop {kind} if exists {self.build_address(build.name)}"))

    def _refuse_volatile_functions(self, statement: str) -> None:
        if called := self._volatile_functions(statement):
            raise StorageError(f"it {_calls(called)}")

    def _volatile_functions(self, statement: str) -> list[str]:
        """Return the functions in a select that may write, wait, read files or answer otherwise each time.

        The owner of all tables runs it, so nothing else would hold them back.
        """
        # Making a view runs nothing of it, but Postgres looks up which function each name and operator means.
        with self._own_answers(), self._connection.transaction(force_rollback=True):
            self._connection.execute(_own(f"create temporary view quantbot_statement as\n{statement}"))
            return [row["function_name"] for row in self._transaction.fetch_rows("views/find_volatile_functions")]

    def _has_reader(self) -> bool:
        row = self._run("select to_regrole(%(name)s) is not null", {"name": READER_ROLE}).fetchone()
        return row is not None and bool(row[0])

    def _run(self, text: str, parameters: Mapping[str, object] | None = None) -> "psycopg.Cursor[tuple[object, ...]]":
        with self._own_answers():
            return self._connection.execute(_own(text), parameters)

    def _lock_holders(self) -> str:
        """Return who keeps others from changing views, as a part of a sentence; empty where it can't be said."""
        if self._connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
            return ""
        sessions = [
            f"pid {row['pid']} (user {row['user_name']}, application {row['application_name'] or 'without a name'}, "
            f"{row['state'] or 'state not told'} since {row['state_since']} UTC)"
            for row in self._transaction.fetch_rows("views/find_readers")
        ]
        if not sessions:
            return ""
        others = f" and {len(sessions) - _SESSIONS_SHOWN} others" if len(sessions) > _SESSIONS_SHOWN else ""
        return f"held by {', '.join(sessions[:_SESSIONS_SHOWN])}{others}; "

    @contextmanager
    def _own_answers(self) -> Iterator[None]:
        """Give errors of Postgres in the project's words."""
        try:
            yield
        except psycopg.errors.LockNotAvailable as error:
            raise ServerError(
                f"views of Postgres, or what they read, are locked by others without a pause: {first_line(error)}; "
                f"{self._lock_holders()}end what they do, then run 'quantbot views build' again"
            ) from error
        except psycopg.errors.UndefinedTable as error:
            raise MigrationError(first_line(error)) from error
        except psycopg.Error as error:
            if self._connection.broken:
                raise ServerError(f"Postgres went away while views were built: {first_line(error)}") from error
            raise StorageError(first_line(error)) from error


def _calls(functions: Sequence[str]) -> str:
    names = ", ".join(f"{name}()" for name in functions)
    return (
        f"calls {names}, which Postgres calls volatile: it may write, wait, read files or answer otherwise each time; "
        "allowed are functions that only answer from what they are given"
    )


def _own(text: str) -> sql.SQL:
    """Return SQL of the project's files and identifiers that were matched against a pattern."""
    return sql.SQL(text)
