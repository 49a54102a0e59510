"""The embedded ClickHouse engine as a server sees it: sessions, settings, queries, inserts.

Knows nothing of HTTP. Only the owner process may import this module: chDB locks its data directory, so
one process may open it.
"""

import contextlib
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chdb import _chdb

from quantbot_pipeline.servers.clickhouse_bodies import (
    NOT_ENOUGH_SPACE,
    SESSION_IS_LOCKED,
    SYNTAX_ERROR,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    UNKNOWN_SETTING,
    ClickHouseError,
)
from quantbot_pipeline.servers.clickhouse_statements import first_keyword

# Every request computes on the same few cores; more at once only splits them and their memory further.
MAX_CONCURRENT_REQUESTS = 16
_SLOT_TIMEOUT_SECONDS = 300.0
_SESSION_LOCK_TIMEOUT_SECONDS = 10.0
_MAX_SESSIONS = 512
_OPEN_TIMEOUT_SECONDS = 15.0

# The engine encodes each block of a stream by itself. Only of these formats do such pieces, one after the
# other, make one valid answer: they have neither a header nor a footer around all rows.
_STREAMABLE_FORMATS = frozenset(
    {"native", "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "rowbinary", "jsoneachrow",
     "jsonlines", "ndjson", "jsoncompacteachrow", "lineasstring", "rawblob"}
)  # fmt: skip


@dataclass(slots=True)
class Session:
    """What a client's `session_id` keeps between requests: temporary tables, USE, SET.

    Attributes:
        handle: The engine handle that holds this state; None once the session is closed.
        lock: Held by the request that uses the session.
        chosen_settings: Settings that the client changed with SET statements.
        expires_at: Monotonic seconds after which an unused session is closed.
    """

    handle: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    chosen_settings: dict[str, str] = field(default_factory=dict)
    expires_at: float = 0.0


@dataclass(slots=True)
class Statistics:
    """Counts for the answer's summary header."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


def _open_handle(directory: str) -> Any:
    # chDB's public Connection hides whether a statement reads or writes, and copies what it returns.
    return _chdb.connect(directory)  # type: ignore[attr-defined]  # an extension module without stubs


class Engine:
    """The one engine of this process.

    A request without session gets a handle of its own, opened for it and closed after it: that takes
    0.13 ms, and nothing that the request set or created can leak into the next.

    Args:
        directory: Data directory; created when missing.
        spool_directory: Where the rows of an insert are until the engine has them.

    Raises:
        ClickHouseError: another process has it open, or it is damaged.
    """

    def __init__(self, directory: Path, spool_directory: Path) -> None:
        self._directory = str(directory)
        self._spool_directory = spool_directory
        self._keeper = self._open_when_unlocked()  # keeps the engine loaded while no request runs
        self._slots = threading.BoundedSemaphore(MAX_CONCURRENT_REQUESTS)
        self._sessions: dict[str, Session] = {}
        self._sessions_lock = threading.Lock()
        self.version, self.timezone = (
            self._keeper.query("select version(), timezone()", "TSV", params={}).bytes().decode().split()
        )

    @property
    def table_functions(self) -> list[str]:
        """Names of the engine's functions that make tables."""
        answer = self._keeper.query("select name from system.table_functions", "TSV", params={})
        return str(answer.bytes().decode()).split()

    def _open_when_unlocked(self) -> Any:
        # The lock of a killed predecessor goes with the process, but a process in the midst of its exit
        # still has it.
        deadline = time.monotonic() + _OPEN_TIMEOUT_SECONDS
        while True:
            try:
                return _open_handle(self._directory)
            except RuntimeError as error:
                if "lock" not in str(error).lower() or time.monotonic() > deadline:
                    raise ClickHouseError.from_engine(error) from error
                time.sleep(0.1)

    @contextmanager
    def request(self, session_id: str | None, session_timeout_seconds: float) -> Iterator["EngineRequest"]:
        """Give one request its handle, after waiting for a free slot.

        Raises:
            ClickHouseError: no slot became free, or the session is in use by another request.
        """
        if not self._slots.acquire(timeout=_SLOT_TIMEOUT_SECONDS):
            raise ClickHouseError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"{MAX_CONCURRENT_REQUESTS} requests have been running for {_SLOT_TIMEOUT_SECONDS:.0f} s",
            )
        try:
            if session_id is None:
                handle = _open_handle(self._directory)
                request = EngineRequest(handle, None, self._spool_directory)
                try:
                    yield request
                finally:
                    request.cancel_stream()
                    handle.close()
            else:
                with self._locked_session(session_id, session_timeout_seconds) as session:
                    request = EngineRequest(session.handle, session, self._spool_directory)
                    try:
                        yield request
                    finally:
                        request.cancel_stream()
                        if not request.restore():
                            self._discard(session_id, session)
        finally:
            self._slots.release()

    @contextmanager
    def _locked_session(self, session_id: str, timeout_seconds: float) -> Iterator[Session]:
        while True:
            with self._sessions_lock:
                self._close_expired_sessions()
                session = self._sessions.get(session_id)
                if session is None:
                    session = Session(_open_handle(self._directory))
                    self._sessions[session_id] = session
                session.expires_at = time.monotonic() + timeout_seconds
            if not session.lock.acquire(timeout=_SESSION_LOCK_TIMEOUT_SECONDS):
                raise ClickHouseError(SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
            if session.handle is not None:
                break
            session.lock.release()  # it expired while we waited
        try:
            yield session
        finally:
            session.expires_at = time.monotonic() + timeout_seconds
            session.lock.release()

    def _close_expired_sessions(self) -> None:
        now = time.monotonic()
        by_age = sorted(self._sessions, key=lambda session_id: self._sessions[session_id].expires_at)
        surplus = len(by_age) - _MAX_SESSIONS
        for index, session_id in enumerate(by_age):
            session = self._sessions[session_id]
            if session.expires_at > now and index >= surplus:
                break
            if session.lock.acquire(blocking=False):
                session.handle.close()
                session.handle = None
                del self._sessions[session_id]
                session.lock.release()

    def _discard(self, session_id: str, session: Session) -> None:
        with self._sessions_lock:
            session.handle.close()
            session.handle = None
            self._sessions.pop(session_id, None)

    def close(self) -> None:
        """Close all handles; the engine flushes and lets go of its directory with the last one."""
        with self._sessions_lock:
            for session in self._sessions.values():
                if session.lock.acquire(timeout=1.0):
                    session.handle.close()
            self._sessions.clear()
        self._keeper.close()


class EngineRequest:
    """One request's use of a handle. Not for use by several threads."""

    def __init__(self, handle: Any, session: Session | None, spool_directory: Path) -> None:
        self._handle = handle
        self._session = session
        self._spool_directory = spool_directory
        self._settings_to_restore: list[str] = []
        self._tables_to_drop: list[str] = []
        self._stream: Any = None
        self.statistics = Statistics()

    def use_database(self, database: str) -> None:
        """Make unqualified table names mean those of this database."""
        self._run(f"use {_quote_identifier(database)}")

    def apply_settings(self, settings: Mapping[str, str]) -> None:
        """Apply settings to this request.

        Raises:
            ClickHouseError: the engine knows no such setting, or refuses the value.
        """
        if not settings:
            return
        for name in settings:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ClickHouseError(
                    UNKNOWN_SETTING,
                    f"Setting {name!r} is neither a builtin setting nor started with a prefix",
                )
        self._settings_to_restore.extend(settings)
        self._run("set " + ", ".join(f"{name} = {_quote_text(value)}" for name, value in settings.items()))

    def bind_parameters(self, parameters: Mapping[str, str]) -> None:
        """Bind `{name:Type}` parameters for an insert, which takes none as arguments."""
        for name, value in parameters.items():
            if not re.fullmatch(r"[A-Za-z0-9_]+", name):
                raise ClickHouseError(UNKNOWN_SETTING, f"parameter name {name!r} is not an identifier")
            self._run(f"set param_{name} = {_quote_text(value)}")

    def add_external_table(self, name: str, structure: str, input_format: str, rows: bytes) -> None:
        """Make rows that came with the request readable as a table of this name."""
        self._run(f"create temporary table {_quote_identifier(name)} ({structure}) engine = Memory")
        self._tables_to_drop.append(name)
        self.insert(f"insert into {_quote_identifier(name)}".encode(), input_format, iter((rows,)))
        self.statistics = Statistics()

    def is_read_only(self, statement: bytes) -> bool:
        """Tell whether a statement only reads; one that does not parse counts as such.

        Raises:
            ClickHouseError: these are several statements.
        """
        try:
            classes = self._handle.classify_query(statement)
        except RuntimeError:
            return True  # running it gives the client the parser's message
        if classes["statement_count"] > 1:
            raise ClickHouseError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
        return bool(classes["query_class"].name == "READ_ONLY")

    def query(self, statement: bytes, output_format: str, parameters: Mapping[str, str]) -> Iterator[memoryview]:
        """Run a statement and yield its answer piece by piece.

        The first piece is computed before anything is yielded; nothing is held longer than until the next.

        Raises:
            ClickHouseError: the engine refuses it, also between pieces.
        """
        try:
            # The engine streams queries proper, and refuses SHOW, DESCRIBE, EXPLAIN.
            is_query = first_keyword(statement) in ("SELECT", "WITH", "FROM")
            if is_query and output_format.lower() in _STREAMABLE_FORMATS:
                yield from self._blocks(statement, output_format, parameters)
            else:
                result = self._handle.query(statement, output_format, params=dict(parameters))
                self._count(result)
                if result.size():
                    yield result.get_memview().view()
        except RuntimeError as error:
            raise ClickHouseError.from_engine(error) from error

    def _blocks(self, statement: bytes, output_format: str, parameters: Mapping[str, str]) -> Iterator[memoryview]:
        self._stream = self._handle.send_query(statement, output_format, params=dict(parameters))
        try:
            while True:
                block = self._handle.streaming_fetch_result(self._stream)
                if block is None or block.rows_read() == 0:
                    self._stream = None
                    return
                self.statistics.read_rows += block.rows_read()
                self.statistics.read_bytes += block.bytes_read()
                yield block.get_memview().view()
        except RuntimeError:
            self._stream = None
            raise

    def cancel_stream(self) -> None:
        """End an answer that nobody reads on, so that it holds no threads and memory until the session's next use."""
        if self._stream is not None:
            stream, self._stream = self._stream, None
            with contextlib.suppress(RuntimeError):  # it may have ended in the meantime
                self._handle.streaming_cancel_query(stream)

    def execute(self, statement: bytes, output_format: str, parameters: Mapping[str, str]) -> bytes:
        """Run a statement that changes something, and return its answer, mostly empty.

        Raises:
            ClickHouseError: the engine refuses it.
        """
        try:
            result = self._handle.query(statement, output_format, params=dict(parameters))
        except RuntimeError as error:
            raise ClickHouseError.from_engine(error) from error
        self._count(result)
        return bytes(result.bytes() or b"")

    def execute_in_session(self, statement: bytes) -> None:
        """Run SET or USE and remember for the session what it changed."""
        self.execute(statement, "TSV", {})
        if self._session is not None:
            changed = self._run("select name, value from system.settings where changed").splitlines()
            self._session.chosen_settings = dict(line.split("\t", 1) for line in changed)

    def insert(self, head: bytes, input_format: str, pieces: Iterator[bytes], settings: bytes = b"") -> None:
        """Insert rows from pieces of a body.

        Rows count as inserted once this returns. When a piece can't be had, nothing is inserted; when one can't be
        read or stored, blocks of about a million rows that were complete before stay, as with any ClickHouse.

        The engine takes them from a file. It can take them piece by piece as well, but then says of rows that it could
        not store, because the disk is full, that they were inserted.

        Args:
            head: The statement up to its settings: `INSERT INTO t (a, b)`.
            input_format: Name of the rows' format.
            pieces: The rows.
            settings: The statement's SETTINGS clause.

        Raises:
            ClickHouseError: the engine refuses the statement or a piece, or there is no room.
        """
        with self._collected(pieces) as path:
            source = f" from infile {_quote_text(path)} compression 'none' ".encode()
            statement = head + source + settings + f" format {input_format}".encode()
            self.is_read_only(statement)  # refuses several statements
            try:
                result = self._handle.query(statement, "TSV", params={})
            except RuntimeError as error:
                raise ClickHouseError.from_engine(error) from error
        self._count(result)

    @contextmanager
    def _collected(self, pieces: Iterator[bytes]) -> Iterator[str]:
        """Write pieces to a file that is gone once this process ends, however; yield how the engine gets at it."""
        has_descriptors = Path("/proc/self/fd").is_dir()
        make = tempfile.TemporaryFile if has_descriptors else tempfile.NamedTemporaryFile
        with make(dir=self._spool_directory, buffering=0) as spool:
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    try:
                        left = left[spool.write(left) :]
                    except OSError as error:
                        raise ClickHouseError(
                            NOT_ENOUGH_SPACE, f"the rows can't be kept in {self._spool_directory}: {error.strerror}"
                        ) from error
            # The engine would take signs such as * in a path for a pattern; in this one there are none.
            yield f"/proc/self/fd/{spool.fileno()}" if has_descriptors else spool.name

    def restore(self) -> bool:
        """Take back what only this request was to have, for the session's next one; tell whether it worked.

        It does not after `readonly=1`, which forbids its own end: such a session is over.
        """
        chosen = self._session.chosen_settings if self._session is not None else {}
        assignments = [
            f"{name} = {_quote_text(chosen[name]) if name in chosen else 'default'}"
            for name in self._settings_to_restore
        ]
        try:
            if assignments:
                self._run("set " + ", ".join(assignments))
            for table in self._tables_to_drop:
                self._run(f"drop temporary table if exists {_quote_identifier(table)}")
        except ClickHouseError:
            return False
        return True

    def _count(self, result: Any) -> None:
        self.statistics.read_rows += result.storage_rows_read()
        self.statistics.read_bytes += result.storage_bytes_read()
        self.statistics.written_rows += result.rows_written()
        self.statistics.written_bytes += result.bytes_written()

    def _run(self, statement: str) -> str:
        try:
            return bytes(self._handle.query(statement, "TSVRaw", params={}).bytes() or b"").decode()
        except RuntimeError as error:
            raise ClickHouseError.from_engine(error) from error


# ClickHouse binds no values in USE, SET and CREATE; names and values from a request are quoted here.
def _quote_identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _quote_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
