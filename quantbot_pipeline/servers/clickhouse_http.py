"""ClickHouse's HTTP interface over the embedded engine.

The standard library's threading server, on purpose: the engine's calls block and let go of the
interpreter, so a thread per connection streams in both directions with natural back pressure, without
an event loop in between and without a dependency.
"""

import base64
import binascii
import hmac
import json
import logging
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import IO, cast
from urllib.parse import parse_qsl, urlsplit

from quantbot_pipeline.servers.clickhouse_bodies import (
    AUTHENTICATION_FAILED,
    INCORRECT_DATA,
    PIECE_BYTES,
    QUERY_IS_TOO_LARGE,
    READONLY,
    REQUIRED_PASSWORD,
    SYNTAX_ERROR,
    AnswerCompressor,
    ClickHouseError,
    MalformedRequestError,
    RequestBody,
    Uncompressed,
    choose_compressor,
    parse_multipart,
)
from quantbot_pipeline.servers.clickhouse_engine import Engine, EngineRequest
from quantbot_pipeline.servers.clickhouse_reader import READER, ReaderRules
from quantbot_pipeline.servers.clickhouse_statements import (
    InlineInsert,
    UndecidedError,
    find_output_format,
    first_keyword,
    split_inline_insert,
    split_type_list,
)

logger = logging.getLogger(__name__)

USER = "quantbot"

# An idle keep-alive connection holds a thread; within a request a client may take its time, for example
# to compute between two blocks of a stream.
_IDLE_SECONDS = 300.0
_BUSY_SECONDS = 3600.0
_LONGEST_STATEMENT_BYTES = 64 << 20
_LARGEST_FORM_BYTES = 1 << 30
_SPOOL_IN_MEMORY_BYTES = 32 << 20
_MAX_SESSION_SECONDS = 3600.0

# URL arguments that are the interface's own; any other is a setting of the engine.
_INTERFACE_ARGUMENTS = frozenset(
    {"query", "database", "user", "password", "query_id", "quota_key", "session_id", "session_timeout",
     "session_check", "close_session", "compress", "decompress", "buffer_size", "wait_end_of_query",
     "default_format", "client_protocol_version", "role", "stacktrace", "enable_http_compression",
     "send_progress_in_http_headers", "http_headers_progress_interval_ms",
     "cancel_http_readonly_queries_on_client_close"}
)  # fmt: skip

_KEYWORDS_WITH_RESULT = frozenset(
    {"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "VALUES"}
)


class ClickHouseServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only.

    Args:
        port: Wanted port; 0 for any.
        engine: What answers.
        passwords: By user, what every request but `/ping` must present.
        spool_directory: Where answers that must be complete before they are sent go when they are large.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, engine: Engine, passwords: Mapping[str, str], spool_directory: Path) -> None:
        self.engine = engine
        self.passwords = dict(passwords)
        self.reader_rules = ReaderRules(engine.table_functions)
        self.spool_directory = spool_directory
        self._running = 0
        self._running_changed = threading.Condition()
        super().__init__(("127.0.0.1", port), ClickHouseRequestHandler)

    def request_began(self) -> None:
        """Count a request that `wait_until_idle` has to wait for."""
        with self._running_changed:
            self._running += 1

    def request_ended(self) -> None:
        """Take back `request_began`."""
        with self._running_changed:
            self._running -= 1
            self._running_changed.notify_all()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Return whether all requests ended in time."""
        with self._running_changed:
            return self._running_changed.wait_for(lambda: self._running == 0, timeout_seconds)

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Log what a handler did not catch; the server goes on."""
        del request, client_address
        error = sys.exception()
        if isinstance(error, ConnectionError):
            # Between two requests, or before it had its answer: the client died or was cut off.
            logger.info("a client went away: %s", error)
        else:
            logger.exception("a connection ended by an unexpected error")


@dataclass(slots=True)
class _Arguments:
    """What a request asks for, from its URL, headers and form."""

    values: dict[str, str]
    headers_format: str | None
    external_tables: dict[str, bytes] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        return self.values.get(name) or None

    def is_on(self, name: str) -> bool:
        return self.values.get(name, "").lower() in ("1", "true")

    @property
    def query_id(self) -> str:
        return self.values.setdefault("query_id", "") or self._new_query_id()

    def _new_query_id(self) -> str:
        self.values["query_id"] = str(uuid.uuid4())
        return self.values["query_id"]

    @property
    def default_format(self) -> str:
        return self.get("default_format") or self.headers_format or "TabSeparated"

    @property
    def parameters(self) -> dict[str, str]:
        return {name.removeprefix("param_"): value for name, value in self.values.items() if name.startswith("param_")}

    @property
    def settings(self) -> dict[str, str]:
        of_tables = {f"{table}_{what}" for table in self.external_tables for what in ("format", "structure", "types")}
        return {
            name: value
            for name, value in self.values.items()
            if name not in _INTERFACE_ARGUMENTS and name not in of_tables and not name.startswith("param_")
        }

    @property
    def session_timeout_seconds(self) -> float:
        try:
            return min(_MAX_SESSION_SECONDS, max(0.0, float(self.values.get("session_timeout", "60"))))
        except ValueError as error:
            raise ClickHouseError(INCORRECT_DATA, "session_timeout is not a number of seconds") from error


class ClickHouseRequestHandler(BaseHTTPRequestHandler):
    """One connection; answers its requests one after the other."""

    protocol_version = "HTTP/1.1"
    server_version = "ClickHouse"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = _IDLE_SECONDS

    @property
    def _server(self) -> ClickHouseServer:
        return cast(ClickHouseServer, self.server)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing per request: a URL may hold a password."""

    def do_GET(self) -> None:
        """Answer a ping, or a statement that only reads."""
        self._answer()

    def do_POST(self) -> None:
        """Answer any statement."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer that the server is there."""
        self._send_whole(200, b"")

    def _answer(self) -> None:
        self.connection.settimeout(_BUSY_SECONDS)
        self._server.request_began()
        self._has_begun = False
        self._started_at = time.monotonic()
        try:
            body = RequestBody(cast(IO[bytes], self.rfile), self.headers)  # type: ignore[arg-type]  # BufferedReader is one
            self._respond(body)
        except MalformedRequestError as error:
            self._refuse_malformed(str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client is gone; there is nobody to tell
        finally:
            self._server.request_ended()
            self.connection.settimeout(_IDLE_SECONDS)

    def _refuse_malformed(self, reason: str) -> None:
        self.close_connection = True
        if not self._has_begun:
            self._send_whole(400, f"{reason}\n".encode(), close=True)

    def _respond(self, body: RequestBody) -> None:
        url = urlsplit(self.path)
        if url.path in ("/ping", "/replicas_status") or (url.path == "/" and self.command == "GET" and not url.query):
            body.drain()
            self._send_whole(200, b"Ok.\n")
            return
        arguments = _Arguments({}, self.headers.get("X-ClickHouse-Format"))
        try:
            try:
                arguments.values.update(
                    parse_qsl(url.query, keep_blank_values=True, errors="surrogateescape", max_num_fields=2000)
                )
            except ValueError as error:
                raise ClickHouseError(INCORRECT_DATA, "the URL has more than 2000 arguments") from error
            self._authenticate(arguments)
        except ClickHouseError as error:
            # A stranger's body is not worth reading.
            self._send_error(error, arguments, close=True)
            return
        if url.path not in ("/", "/query"):
            body.drain()
            self._send_whole(404, b"There is no handle %s\n\n" % url.path.encode("utf-8", "replace"))
            return
        try:
            self._run(arguments, body)
        except ClickHouseError as error:
            if self._has_begun:
                self.close_connection = True
                return
            body.drain()
            self._send_error(error, arguments)

    def _authenticate(self, arguments: _Arguments) -> None:
        user, password = arguments.values.get("user"), arguments.values.get("password")
        header = self.headers.get("Authorization")
        if header is not None:
            scheme, _, credentials = header.partition(" ")
            if scheme.lower() != "basic":
                raise ClickHouseError(AUTHENTICATION_FAILED, "only HTTP basic authentication is understood")
            try:
                decoded = base64.b64decode(credentials.strip(), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ClickHouseError(AUTHENTICATION_FAILED, "the credentials are not base64 text") from error
            user, _, password = decoded.partition(":")
        elif "X-ClickHouse-User" in self.headers or "X-ClickHouse-Key" in self.headers:
            user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        if user is None and password is None:
            raise ClickHouseError(REQUIRED_PASSWORD, "a user and a password are required")
        expected = self._server.passwords.get(user or "", "")
        if not expected or not hmac.compare_digest((password or "").encode("utf-8", "replace"), expected.encode()):
            raise ClickHouseError(
                AUTHENTICATION_FAILED,
                "Authentication failed: password is incorrect, or there is no user with such name.",
            )
        self._is_reader = user == READER

    def _run(self, arguments: _Arguments, body: RequestBody) -> None:
        pieces = body.pieces()
        content_type = self.headers.get("Content-Type") or ""
        if content_type.lower().startswith("multipart/form-data"):
            form = parse_multipart(content_type, _read_at_most(pieces, _LARGEST_FORM_BYTES))
            arguments.values.update(form.fields)
            arguments.external_tables = form.files
            pieces = iter(())
        statement, insert, rows = _take_statement(arguments.values.get("query", ""), pieces, arguments.parameters)
        if insert is None and not statement.strip(b" \t\r\n;"):
            raise ClickHouseError(SYNTAX_ERROR, "Syntax error: Empty query")
        if b"\0" in statement:  # the engine would take what is before it for the whole
            raise ClickHouseError(SYNTAX_ERROR, "Syntax error: the statement holds a zero byte")
        settings, session_id = arguments.settings, arguments.get("session_id")
        if self._is_reader:
            if insert is not None or arguments.external_tables:
                raise ClickHouseError(READONLY, f"user {READER} may only read: found rows to insert")
            self._server.reader_rules.check(statement)
            settings = self._server.reader_rules.settings(settings)
            # Nobody but readers may have made the session that a reader continues.
            session_id = None if session_id is None else f"{READER} {session_id}"
        engine = self._server.engine
        with engine.request(session_id, arguments.session_timeout_seconds) as request:
            if database := arguments.get("database") or self.headers.get("X-ClickHouse-Database"):
                request.use_database(database)
            if insert is not None:
                self._refuse_unless_post()
                request.apply_settings(settings)
                request.bind_parameters(arguments.parameters)
                request.insert(insert.head, insert.input_format, rows, insert.settings)
                self._send_result(iter(()), None, request, arguments)
                return
            keyword = first_keyword(statement)
            is_read_only = request.is_read_only(statement)
            if not is_read_only:
                self._refuse_unless_post()
            if keyword in ("SET", "USE"):
                request.execute_in_session(statement)
                self._send_result(iter(()), None, request, arguments)
                return
            request.apply_settings(settings)
            for name, content in arguments.external_tables.items():
                _add_external_table(request, arguments, name, content)
            output_format = find_output_format(statement) or arguments.default_format
            if is_read_only:
                answer = request.query(statement, output_format, arguments.parameters)
                has_result = keyword in _KEYWORDS_WITH_RESULT
            else:
                changed = request.execute(statement, output_format, arguments.parameters)
                answer = iter((memoryview(changed),)) if changed else iter(())
                has_result = bool(changed)
            self._send_result(answer, output_format if has_result else None, request, arguments)

    def _refuse_unless_post(self) -> None:
        if self.command != "POST":
            raise ClickHouseError(
                READONLY,
                "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
                "You should use method POST for modifying queries",
            )

    def _send_result(
        self,
        answer: Iterator[memoryview],
        output_format: str | None,
        request: EngineRequest,
        arguments: _Arguments,
    ) -> None:
        first = next(answer, None)  # an error in the statement shows here, before the status line is sent
        compressor: AnswerCompressor = Uncompressed()
        is_text = _is_text(output_format)
        headers = {"Content-Type": "text/plain; charset=UTF-8" if is_text else "application/octet-stream"}
        if output_format is not None:
            headers["X-ClickHouse-Format"] = output_format
        if arguments.is_on("enable_http_compression") and first is not None:
            chosen = choose_compressor(self.headers.get("Accept-Encoding"))
            if chosen is not None:
                headers["Content-Encoding"], compressor = chosen
        pieces = chain(() if first is None else (first,), answer)
        if arguments.is_on("wait_end_of_query") or first is None:
            self._send_spooled(pieces, compressor, headers, request, arguments)
        else:
            self._send_streamed(pieces, compressor, headers, request, arguments)

    def _send_spooled(
        self,
        pieces: Iterator[memoryview],
        compressor: AnswerCompressor,
        headers: dict[str, str],
        request: EngineRequest,
        arguments: _Arguments,
    ) -> None:
        """Send the answer once it is complete: an error half way is then an error and no torn answer."""
        folder = str(self._server.spool_directory)
        with tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY_BYTES, dir=folder) as spool:
            for piece in pieces:
                spool.write(compressor.compress(piece))
            spool.write(compressor.finish())
            length = spool.tell()
            spool.seek(0)
            self._send_head(200, headers | {"Content-Length": str(length)}, request, arguments)
            shutil.copyfileobj(spool, self.wfile, PIECE_BYTES)
            self.wfile.flush()

    def _send_streamed(
        self,
        pieces: Iterator[memoryview],
        compressor: AnswerCompressor,
        headers: dict[str, str],
        request: EngineRequest,
        arguments: _Arguments,
    ) -> None:
        tag = uuid.uuid4().hex[:16]
        self._send_head(
            200,
            headers | {"Transfer-Encoding": "chunked", "X-ClickHouse-Exception-Tag": tag},
            request,
            arguments,
        )
        try:
            for piece in pieces:
                self._write_chunk(compressor.compress(piece))
        except ClickHouseError as error:
            # The status is out already. ClickHouse appends the message between marks that only this answer
            # has, and breaks off the chunks, so that no client takes it for complete.
            text = error.text.encode()
            end = f"\n{len(text)} {tag}\r\n__exception__\r\n".encode()
            message = f"\r\n__exception__\r\n{tag}\r\n".encode() + text + end
            self._write_chunk(compressor.compress(message))
            self._write_chunk(compressor.finish())
            self.wfile.flush()
            raise
        self._write_chunk(compressor.finish())
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _write_chunk(self, piece: bytes | memoryview) -> None:
        if len(piece):
            self.wfile.write(b"%x\r\n" % len(piece))
            self.wfile.write(piece)
            self.wfile.write(b"\r\n")

    def _send_head(
        self,
        status: int,
        headers: dict[str, str],
        request: EngineRequest | None,
        arguments: _Arguments,
    ) -> None:
        self._has_begun = True
        self.send_response(status)
        if request is not None:
            counts = request.statistics
            summary = {
                "read_rows": str(counts.read_rows),
                "read_bytes": str(counts.read_bytes),
                "written_rows": str(counts.written_rows),
                "written_bytes": str(counts.written_bytes),
                "elapsed_ns": str(int((time.monotonic() - self._started_at) * 1e9)),
            }
            self.send_header("X-ClickHouse-Summary", json.dumps(summary, separators=(",", ":")))
        self.send_header("X-ClickHouse-Server-Display-Name", "quantbot")
        self.send_header("X-ClickHouse-Query-Id", _header_safe(arguments.query_id))
        self.send_header("X-ClickHouse-Timezone", self._server.engine.timezone)
        for name, value in headers.items():
            self.send_header(name, _header_safe(value))
        self.end_headers()

    def _send_error(self, error: ClickHouseError, arguments: _Arguments, *, close: bool = False) -> None:
        text = error.text if "(version " in error.text else f"{error.text} (version {self._server.engine.version})"
        content = text.encode("utf-8", "replace") + b"\n"
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "Content-Length": str(len(content)),
            "X-ClickHouse-Exception-Code": str(error.code),
        }
        if error.http_status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if close:
            headers["Connection"] = "close"
            self.close_connection = True
        self._send_head(error.http_status, headers, None, arguments)
        self.wfile.write(content)
        self.wfile.flush()

    def _send_whole(self, status: int, content: bytes, *, close: bool = False) -> None:
        self._has_begun = True
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        if close:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def _take_statement(
    query_argument: str, pieces: Iterator[bytes], parameters: dict[str, str]
) -> tuple[bytes, InlineInsert | None, Iterator[bytes]]:
    """Take the statement off the body; what is left are an insert's rows.

    Returns:
        The whole statement, or, for an insert with rows, its head and the rows.
    """
    statement = query_argument.encode("utf-8", "surrogateescape")
    if statement:
        first = next(pieces, None)
        if first is not None:
            statement += b"\n"
            pieces = chain((first,), pieces)
    is_complete = False
    while True:
        try:
            insert = split_inline_insert(statement, is_complete=is_complete)
        except UndecidedError:
            insert = None
        else:
            if insert is not None and not (insert.input_format == "Values" and parameters):
                return b"", insert, chain((statement[insert.rows_at :],), pieces)
        if is_complete:
            return statement, None, pieces
        if insert is None and len(statement) > _LONGEST_STATEMENT_BYTES:
            raise ClickHouseError(QUERY_IS_TOO_LARGE, f"the statement is longer than {_LONGEST_STATEMENT_BYTES} bytes")
        # Doubled each time, so that a long statement is not scanned once per piece.
        wanted = max(len(statement), 1)
        more = bytearray()
        for piece in pieces:
            more += piece
            if len(more) >= wanted:
                break
        else:
            is_complete = True
        statement += bytes(more)


def _read_at_most(pieces: Iterator[bytes], limit: int) -> bytes:
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > limit:
            raise ClickHouseError(QUERY_IS_TOO_LARGE, f"the form is longer than {limit} bytes")
    return bytes(content)


def _add_external_table(request: EngineRequest, arguments: _Arguments, name: str, content: bytes) -> None:
    structure = arguments.get(f"{name}_structure")
    if structure is None:
        types = arguments.get(f"{name}_types")
        if types is None:
            raise ClickHouseError(
                INCORRECT_DATA, f"external table {name!r} has neither {name}_structure nor {name}_types"
            )
        structure = ", ".join(f"_{number} {type_}" for number, type_ in enumerate(split_type_list(types), start=1))
    request.add_external_table(name, structure, arguments.get(f"{name}_format") or "TabSeparated", content)


def _is_text(output_format: str | None) -> bool:
    return output_format is None or output_format.lower().startswith(("tab", "tsv", "csv", "json", "pretty", "values"))


def _header_safe(value: str) -> str:
    """Take out line ends, with which a request could add headers to its answer."""
    return (
        "".join(character for character in value if character.isprintable())
        .encode("latin-1", "replace")
        .decode("latin-1")
    )
