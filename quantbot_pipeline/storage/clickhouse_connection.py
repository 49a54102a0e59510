"""The connection to ClickHouse: opening, reading and inserting Arrow, errors in the project's own words."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.summary import QuerySummary

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.settings import what_to_do_without
from quantbot_pipeline.storage.json_text import storable_parameters
from quantbot_pipeline.storage.sql_files import load_sql

CONNECT_TIMEOUT_SECONDS = 10
SEND_RECEIVE_TIMEOUT_SECONDS = 300

# Codes of ClickHouse's ErrorCodes.cpp.
_MISSING_SCHEMA_CODES = frozenset({16, 47, 60, 81})  # column in table, identifier, table, database
MISSING_TABLE_CODES = frozenset({60, 81})  # table, database
_MISSING_DATABASE_CODE = 81
_REFUSED_LOGIN_CODES = frozenset({192, 193, 194, 497, 516})

_DEFAULT_PORTS = {"http": 8123, "https": 8443}


@dataclass(frozen=True, slots=True)
class ClickHouseAddress:
    """The parts of `http(s)://user:password@host:port/database`."""

    scheme: str
    host: str
    port: int
    username: str
    password: str
    database: str

    @classmethod
    def parse(cls, url: str) -> "ClickHouseAddress":
        """Return the parts of a URL; user and database are `default` where it has none.

        Raises:
            ServerError: it is not such a URL. The message does not repeat it: it may hold a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ServerError(
                "the ClickHouse URL can't be read: allowed is http(s)://user:password@host:port/database; "
                "check QUANTBOT_CLICKHOUSE_URL"
            )
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[parts.scheme],
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or "default",
        )

    def describe(self) -> str:
        """Return where it points, without user and password, for messages."""
        return f"ClickHouse at {self.host}:{self.port}"


ROWS_PER_BLOCK = 2**17
"""Rows that the server takes from a stream at once: some 8 MB of candles."""


def _encoded(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows, max_chunksize=ROWS_PER_BLOCK)
    # Bytes, no generator: the client sends only bytes again where the server closed an idle connection.
    return bytes(sink.getvalue().to_pybytes())


class ClickHouseConnection:
    """A thread-safe connection: requests of several threads run side by side.

    Raises, in every method: MigrationError where a table or the database is missing, ServerError where the
    server is out of reach or refuses the login, StorageError with the server's message for the rest.
    """

    def __init__(self, url: str) -> None:
        self._address = ClickHouseAddress.parse(url)
        self._client = self._connect()

    @property
    def server(self) -> str:
        """Where this connection points, for messages."""
        return self._address.describe()

    def close(self) -> None:
        """Close the connections to the server."""
        self._client.close()

    def command(self, sql: str, *, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing; `name` says in messages which one."""
        with self._said_of(name):
            self._client.command(sql, parameters=storable_parameters(parameters or {}))

    def run(self, query: str, **parameters: Any) -> None:
        """Run a statement below `sql/clickhouse/queries` that returns nothing."""
        self.command(load_sql("clickhouse", query), name=query, parameters=parameters)

    def read(self, query: str, **parameters: Any) -> pa.Table:
        """Run a query below `sql/clickhouse/queries` and return its rows."""
        return self.fetch_table(load_sql("clickhouse", query), name=query, parameters=parameters)

    def insert_selected(self, sql: str, *, name: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run an `insert … select` and return how many rows it inserted."""
        with self._said_of(name):
            answer = self._client.command(sql, parameters=storable_parameters(parameters or {}))
        if not isinstance(answer, QuerySummary):
            raise StorageError(f"clickhouse query {name!r} returns rows; allowed is an insert")
        return int(answer.written_rows)

    def fetch_table(self, sql: str, *, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a query and return its rows as Arrow, strings as strings."""
        with self._said_of(name):
            return self._client.query_arrow(sql, parameters=storable_parameters(parameters or {}), use_strings=True)

    def insert_table(self, table: str, rows: pa.Table) -> None:
        """Insert rows by column name; columns of the table that are not given take their defaults."""
        if rows.num_rows == 0:
            return
        with self._said_of(f"insert into {table}"):
            self._client.insert_arrow(table, rows)

    def insert_stream(self, table: str, rows: pa.Table) -> None:
        """Insert rows as `insert_table` does, in blocks that the server stores while it reads the next: for many."""
        if rows.num_rows == 0:
            return
        with self._said_of(f"insert into {table}"):
            self._client.raw_insert(table, rows.column_names, _encoded(rows), fmt="ArrowStream")

    @contextmanager
    def _said_of(self, name: str) -> Iterator[None]:
        """Say what the client raises in the project's words, and of which statement."""
        try:
            yield
        except (ClickHouseError, OSError) as error:
            raise self._translated(error, name) from error

    def _connect(self) -> Client:
        address = self._address
        with self._said_of("connect"):
            return clickhouse_connect.get_client(
                interface=address.scheme,
                host=address.host,
                port=address.port,
                username=address.username,
                password=address.password,
                database=address.database,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                send_receive_timeout=SEND_RECEIVE_TIMEOUT_SECONDS,
                # A session allows one request at a time; without one, threads can share the client.
                autogenerate_session_id=False,
                # Parameters of bulk reads hold thousands of addresses: too long for a URL.
                form_encode_query_params=True,
            )

    def _translated(self, error: Exception, name: str) -> StorageError:
        message = server_answer(error)
        code = getattr(error, "code", None)
        if code == _MISSING_DATABASE_CODE and self._address.database in message:
            return ServerError(
                f"{self.server} has no database {self._address.database!r}; have it created, or name another one in "
                "QUANTBOT_CLICKHOUSE_URL"
            )
        if code in _MISSING_SCHEMA_CODES:
            return MigrationError(
                f"clickhouse query {name!r}: {message}; the schema is not up to date: run 'quantbot migrate'"
            )
        if code in _REFUSED_LOGIN_CODES:
            return ServerError(
                f"{self.server} does not let user {self._address.username!r} in (code {code}); "
                "check user and password in QUANTBOT_CLICKHOUSE_URL"
            )
        if (full := describe_full_disk(error, where=f"the disk of {self.server}")) is not None:
            return StorageError(f"{full} (clickhouse query {name!r}: {message[:_LONGEST_REASON]})")
        if code is None:
            return ServerError(
                f"{self.server} does not answer {name!r}: {_short_reason(error)}; {what_to_do_without('clickhouse')}"
            )
        return StorageError(f"clickhouse query {name!r} failed: {message}")


def server_answer(error: BaseException) -> str:
    """Return what the server said in one line, without the address that the client adds."""
    return _REQUEST_ENDING.sub("", " ".join(str(error).split()))


_LONGEST_REASON = 300
_REQUEST_ENDING = re.compile(r"\s*\(for url \S+\)")
_REQUEST_ADDRESS = re.compile(r"(?:with )?\burl:? \S+")
# What the client's layers say, most telling first: they quote whole addresses with every setting.
_REASONS = (
    (re.compile(r"connection refused|errno 111", re.IGNORECASE), "connection refused"),
    (re.compile(r"name or service not known|nameresolution|failed to resolve|gaierror", re.IGNORECASE),
     "no such host"),
    (re.compile(r"no route to host|network is unreachable", re.IGNORECASE), "no way to this host"),
    (re.compile(r"timed? ?out", re.IGNORECASE), "timed out"),
    (re.compile(r"reset by peer|errno 104|broken pipe|remotedisconnected|connection aborted|without response|"
                r"incompleteread|connection broken", re.IGNORECASE), "connection reset"),
)  # fmt: skip


def _short_reason(error: BaseException) -> str:
    """Return in a few words why a server does not answer."""
    text = _REQUEST_ADDRESS.sub("", " ".join(str(error).split()))
    for pattern, reason in _REASONS:
        if pattern.search(text):
            return reason
    return text[:_LONGEST_REASON] or type(error).__name__
