"""Connections to Postgres: opening, reusing, transactions, and errors in the project's own words.

What is done inside a transaction lives in `postgres_entities`, `postgres_runs` and `postgres_research`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.types.string import TextLoader

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.settings import what_to_do_without
from quantbot_pipeline.storage.json_text import storable_parameters
from quantbot_pipeline.storage.sql_files import load_sql

Connection = psycopg.Connection[TupleRow]
Result = TypeVar("Result")

IDLE_CONNECTIONS = 4
"""Connections that are kept open for the next transactions; more threads open and close their own."""

ATTEMPTS = 5
"""Writers lock rows in one order, so deadlocks are not expected; should one happen, the whole transaction
is tried again, this many times in all."""

CONNECT_TIMEOUT_SECONDS = 10

_RETRYABLE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_MISSING_SCHEMA = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)

_ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "name": pa.string(),
    "json": pa.string(),
    "jsonb": pa.string(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "interval": pa.duration("us"),
}


def describe_server(url: str) -> str:
    """Return where a Postgres URL points, without user and password, for messages."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        return "Postgres"
    return f"Postgres at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def connect(url: str) -> Connection:
    """Open a connection in autocommit mode whose session speaks UTC.

    Raises:
        ServerError: the URL is not one, the server does not answer or does not let us in.
    """
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        # `from None`: libpq quotes the text that it could not parse, which may hold the password.
        raise ServerError(
            "the Postgres URL can't be read: allowed is postgresql://user:password@host:port/database; "
            "check QUANTBOT_POSTGRES_URL"
        ) from None
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            application_name="quantbot",
        )
        connection.execute("set timezone to 'UTC'")
    except psycopg.Error as error:
        if (full := describe_full_disk(error, where=f"the disk of {describe_server(url)}")) is not None:
            raise ServerError(f"{full} ({_one_line(error)})") from error
        raise ServerError(
            f"{describe_server(url)} does not let us in: {_one_line(error)}; {what_to_do_without('postgres')}"
        ) from error
    return connection


class PostgresTransaction:
    """One open transaction; statements are named by their file below `sql/postgres/queries`.

    Every method raises MigrationError where a table is missing, ServerError where the connection is lost,
    and StorageError with the server's message for everything else that the server refuses.
    """

    def __init__(self, connection: Connection, server: str) -> None:
        self._connection = connection
        self._server = server

    def execute(self, query: str, **parameters: Any) -> int:
        """Run a statement and return how many rows it touched."""
        return self._run(query, parameters).rowcount

    def fetch_rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a query and return its rows by column name."""
        cursor = self._run(query, parameters)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def fetch_row(self, query: str, **parameters: Any) -> dict[str, Any] | None:
        """Run a query of at most one row and return that row."""
        rows = self.fetch_rows(query, **parameters)
        return rows[0] if rows else None

    def fetch_table(self, query: str, **parameters: Any) -> pa.Table:
        """Run a query and return its rows as an Arrow table, typed also when there are none.

        Raises:
            StorageError: a column has a type without Arrow form here; the message says to cast it.
        """
        with self._connection.cursor() as cursor:
            for name in ("json", "jsonb"):
                cursor.adapters.register_loader(name, TextLoader)
            self._run(query, parameters, cursor)
            fields: list[pa.Field] = []
            for column in cursor.description or ():
                known = self._connection.adapters.types.get(column.type_code)
                name = known.name if known is not None else f"oid {column.type_code}"
                if name not in _ARROW_TYPES:
                    raise StorageError(
                        f"postgres query {query!r}: column {column.name!r} has type {name}; "
                        f"cast it to one of {', '.join(sorted(_ARROW_TYPES))}"
                    )
                fields.append(pa.field(column.name, _ARROW_TYPES[name]))
            rows = cursor.fetchall()
        columns = zip(*rows, strict=True) if rows else ([] for _ in fields)
        schema = pa.schema(fields)
        return pa.Table.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)],
            schema=schema,
        )

    def copy_rows(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Send rows through the COPY statement of a file."""
        try:
            with self._connection.cursor() as cursor, cursor.copy(load_sql("postgres", query).encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise self.translated(error, query) from error

    def translated(self, error: psycopg.Error, query: str) -> StorageError:
        """Return a database error in the project's words."""
        message = _one_line(error)
        if isinstance(error, _MISSING_SCHEMA):
            return MigrationError(
                f"postgres query {query!r}: {message}; the schema is not up to date: run 'quantbot migrate'"
            )
        if (full := describe_full_disk(error, where=f"the disk of {self._server}")) is not None:
            return StorageError(f"{full}; nothing of the transaction was kept (postgres query {query!r}: {message})")
        if self._connection.broken or isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown):
            return ServerError(
                f"{self._server} closed the connection during query {query!r}: {message}; nothing of the "
                f"transaction was kept; run the command again ({what_to_do_without('postgres')})"
            )
        return StorageError(f"postgres query {query!r} failed: {message}")

    def _run(
        self,
        query: str,
        parameters: Mapping[str, Any],
        cursor: psycopg.Cursor[TupleRow] | None = None,
    ) -> psycopg.Cursor[TupleRow]:
        try:
            # None, not {}: without parameters a '%' in the SQL means itself.
            return (cursor or self._connection.cursor()).execute(
                load_sql("postgres", query).encode(), storable_parameters(parameters) or None
            )
        except psycopg.Error as error:
            raise self.translated(error, query) from error


class PostgresConnections:
    """Connections to one database, for any number of threads; each transaction has one for itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._server = describe_server(url)
        # Appending and popping of a deque are atomic, so threads need no further lock.
        self._idle: deque[Connection] = deque()

    def run(self, work: Callable[[PostgresTransaction], Result]) -> Result:
        """Run work in one transaction: all of it is kept, or, when it raises, nothing.

        Work may be run again from its start after a deadlock, so it changes nothing but the database.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self.transaction() as transaction:
                    return work(transaction)
            except StorageError as error:
                if attempt == ATTEMPTS or not isinstance(error.__cause__, _RETRYABLE):
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def locked(self, lock: str, unlock: str) -> Iterator[None]:
        """Hold a lock of the session while the context lasts, on a connection of its own.

        Args:
            lock: Query that waits for the lock; it ends with the connection, however the process ends.
            unlock: Query that gives it back.
        """
        with self._session() as session:
            session.execute(lock)
            yield
            session.execute(unlock)

    @contextmanager
    def holding(self, names: Iterable[str], on_wait: Callable[[], None]) -> Iterator[bool]:
        """Hold the locks of some names while the context lasts, on a connection of its own; yields whether it waited.

        The locks end with the connection, however the process ends.

        Args:
            names: Names of locks, without order.
            on_wait: Called before waiting for another session.
        """
        ordered = sorted(set(names))
        with self._session() as session:
            tried = session.fetch_rows("locks/try_locks", names=ordered)
            has_waited = not all(row["is_held"] for row in tried)
            if has_waited:
                # Whoever waits holds nothing that comes later in the order, so nobody waits for each other in a circle.
                session.execute("locks/unlock_all")
                on_wait()
                for name in ordered:
                    session.execute("locks/wait_for_lock", name=name)
            yield has_waited
            session.execute("locks/unlock_all")

    @contextmanager
    def holding_idle(self, names: Iterable[str]) -> Iterator[frozenset[str]]:
        """Hold the locks of those names that no other session holds while the context lasts; yields these names."""
        with self._session() as session:
            tried = session.fetch_rows("locks/try_locks", names=sorted(set(names)))
            yield frozenset(row["name"] for row in tried if row["is_held"])
            session.execute("locks/unlock_all")

    @contextmanager
    def held_as_sign(self, name: str) -> Iterator[None]:
        """Hold the lock of a name while the context and its connection last, if nobody holds it."""
        connection = self._take()
        try:
            PostgresTransaction(connection, self._server).fetch_rows("locks/try_locks", names=[name])
            yield
        finally:
            # Gives the lock back, also where the server is not there any more.
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[PostgresTransaction]:
        """Yield a transaction that lasts as long as the context; unlike `run`, it is tried once."""
        connection = self._take()
        transaction = PostgresTransaction(connection, self._server)
        try:
            with connection.transaction():
                yield transaction
        except psycopg.Error as error:
            raise transaction.translated(error, "commit") from error
        finally:
            self._put_back(connection)

    def close(self) -> None:
        """Close idle connections; those in use close when their transaction ends."""
        while self._idle:
            with suppress(IndexError):
                self._idle.pop().close()

    @contextmanager
    def _session(self) -> Iterator[PostgresTransaction]:
        """Yield a connection whose statements are each kept at once; one that an exception ends is closed.

        Closing gives back the locks of the session, whatever state the connection is in.
        """
        connection = self._take()
        try:
            yield PostgresTransaction(connection, self._server)
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)

    def _put_back(self, connection: Connection) -> None:
        if connection.closed or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
        else:
            self._idle.append(connection)

    def _take(self) -> Connection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            try:
                # The server may have restarted since; asking costs some 50 microseconds.
                connection.execute("select 1")
            except psycopg.Error:
                connection.close()
            else:
                return connection
        return connect(self._url)


def _one_line(error: psycopg.Error) -> str:
    diagnostic = error.diag
    text = diagnostic.message_primary or str(error)
    if diagnostic.message_detail:
        text = f"{text} ({diagnostic.message_detail})"
    return " ".join(text.split())
