"""Bodies of HTTP requests and answers: chunks, compression, multipart forms, errors of ClickHouse's kind.

Bodies are passed on piece by piece, so that a large insert or answer is never held as a whole.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import BinaryIO, Protocol

import lz4.frame
import zstandard

PIECE_BYTES = 1 << 20
_LONGEST_CHUNK_LINE = 4096

# Numbers of ClickHouse's own error list (src/Common/ErrorCodes.cpp); clients tell errors apart by them.
SYNTAX_ERROR = 62
NOT_IMPLEMENTED = 48
UNKNOWN_COMPRESSION_METHOD = 89
UNKNOWN_SETTING = 115
READONLY = 164
TOO_MANY_SIMULTANEOUS_QUERIES = 202
REQUIRED_PASSWORD = 194
CANNOT_DECOMPRESS = 271
QUERY_IS_TOO_LARGE = 223
SESSION_IS_LOCKED = 373
NOT_ENOUGH_SPACE = 243
AUTHENTICATION_FAILED = 516
INCORRECT_DATA = 117
UNKNOWN_EXCEPTION = 1002

_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    REQUIRED_PASSWORD: "REQUIRED_PASSWORD",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    INCORRECT_DATA: "INCORRECT_DATA",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
}

# How ClickHouse's server maps its codes; everything else is 500.
_STATUS_OF_CODE = {
    REQUIRED_PASSWORD: 401,
    **dict.fromkeys((192, 193, AUTHENTICATION_FAILED), 403),
    # Cannot parse …, incorrect data, type mismatch, syntax error, bad query parameter
    **dict.fromkeys((6, 26, 27, 38, 41, 53, SYNTAX_ERROR, 69, 72, INCORRECT_DATA, 130, 131, 441, 457), 400),
    # Unknown identifier, table, function, type, storage, database, setting
    **dict.fromkeys((46, 47, 50, 56, 60, 81, UNKNOWN_SETTING), 404),
    159: 408,
    QUERY_IS_TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    TOO_MANY_SIMULTANEOUS_QUERIES: 503,
}


class ClickHouseError(Exception):
    """An error that the client is told, in ClickHouse's words.

    Attributes:
        code: ClickHouse's number.
        text: `Code: 60. DB::Exception: …`
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.text = reason
        if not reason.startswith("Code: "):
            self.text = f"Code: {code}. DB::Exception: {reason} ({_NAMES.get(code, 'UNKNOWN_EXCEPTION')})"
        super().__init__(self.text)

    @property
    def http_status(self) -> int:
        """The status that ClickHouse's server sends with this code."""
        return _STATUS_OF_CODE.get(self.code, 500)

    @classmethod
    def from_engine(cls, error: Exception) -> "ClickHouseError":
        """Return the engine's error with the code that its text names."""
        text = str(error)
        found = re.search(r"Code: (\d+)\. ", text)
        if found is None:
            return cls(UNKNOWN_EXCEPTION, text)
        return cls(int(found.group(1)), text[found.start() :])


class MalformedRequestError(Exception):
    """The bytes are no HTTP request that can be answered and followed by another on this connection."""


class RequestBody:
    """The body of one request, decompressed, as pieces.

    Args:
        source: The connection, positioned after the headers.
        headers: The request's headers.

    Raises:
        MalformedRequestError: the headers leave the body's length in doubt.
    """

    def __init__(self, source: BinaryIO, headers: Message) -> None:
        self._source = source
        self._encoding = (headers.get("Content-Encoding") or "identity").strip().lower()
        self._raw = self._raw_pieces(headers)
        self._is_drained = False

    def pieces(self) -> Iterator[bytes]:
        """Yield the decompressed body.

        Raises:
            ClickHouseError: it is compressed in an unknown way, or damaged.
            MalformedRequestError: the chunks are not what HTTP says, or the connection ended early.
        """
        if self._encoding in ("", "identity"):
            yield from self._raw
            return
        make = _DECOMPRESSORS.get(self._encoding)
        if make is None:
            known = ", ".join(_DECOMPRESSORS)
            raise ClickHouseError(UNKNOWN_COMPRESSION_METHOD, f"Content-Encoding {self._encoding!r} is none of {known}")
        yield from _decompress_frames(self._raw, make, self._encoding)

    def drain(self) -> None:
        """Read what is left, so that the connection can carry another request."""
        for _ in self._raw:
            pass
        self._is_drained = True

    def _raw_pieces(self, headers: Message) -> Iterator[bytes]:
        transfer = (headers.get("Transfer-Encoding") or "").strip().lower()
        lengths = headers.get_all("Content-Length") or []
        if transfer:
            if transfer != "chunked" or lengths:
                raise MalformedRequestError("only 'Transfer-Encoding: chunked', without a length, is understood")
            return self._chunked()
        if not lengths:
            return iter(())
        if len(set(lengths)) > 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0].strip()):
            raise MalformedRequestError("Content-Length is not one number")
        return self._of_length(int(lengths[0]))

    def _of_length(self, remaining: int) -> Iterator[bytes]:
        while remaining > 0:
            piece = self._source.read(min(remaining, PIECE_BYTES))
            if not piece:
                raise MalformedRequestError("the connection ended within the body")
            remaining -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size_text = self._line().split(b";", 1)[0].strip()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size_text):
                raise MalformedRequestError("a chunk's size is not a hexadecimal number")
            size = int(size_text, 16)
            if size == 0:
                break
            yield from self._of_length(size)
            if self._line() != b"":
                raise MalformedRequestError("a chunk is longer than its size")
        while self._line() != b"":
            pass  # trailers carry nothing that is used

    def _line(self) -> bytes:
        line = self._source.readline(_LONGEST_CHUNK_LINE)
        if not line.endswith(b"\n"):
            raise MalformedRequestError("the connection ended within the body")
        return line.rstrip(b"\r\n")


class _Decompressor(Protocol):
    """What zlib, zstandard and lz4 have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": lambda: zlib.decompressobj(),
}


def _decompress_frames(pieces: Iterator[bytes], make: Callable[[], _Decompressor], encoding: str) -> Iterator[bytes]:
    """Decompress a body that may hold several frames one after the other, as clients send one per block."""
    frame: _Decompressor | None = None
    for piece in pieces:
        remaining = piece
        while remaining:
            frame = frame or make()
            try:
                plain = frame.decompress(remaining)
            except (RuntimeError, zlib.error, zstandard.ZstdError, EOFError) as error:
                raise ClickHouseError(CANNOT_DECOMPRESS, f"the body is not {encoding}: {error}") from error
            if plain:
                yield plain
            remaining = b""
            if frame.eof:
                remaining = frame.unused_data or b""
                frame = None
    if frame is not None:
        raise ClickHouseError(CANNOT_DECOMPRESS, f"the body ends within a frame of {encoding}")


class AnswerCompressor(Protocol):
    """Turns pieces of an answer into one compressed stream."""

    def compress(self, piece: bytes | memoryview) -> bytes | memoryview:
        """Return what can be sent so far."""

    def finish(self) -> bytes:
        """Return the rest."""


class Uncompressed:
    """Passes pieces on as they are."""

    def compress(self, piece: bytes | memoryview) -> bytes | memoryview:
        """Return the piece."""
        return piece

    def finish(self) -> bytes:
        """Return nothing."""
        return b""


class _Lz4Compressor:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._is_begun = False

    def compress(self, piece: bytes | memoryview) -> bytes:
        begin = b"" if self._is_begun else self._frame.begin()
        self._is_begun = True
        return bytes(begin + self._frame.compress(piece))

    def finish(self) -> bytes:
        begin = b"" if self._is_begun else self._frame.begin()
        return bytes(begin + self._frame.flush())


class _ZstdCompressor:
    def __init__(self) -> None:
        self._frame = zstandard.ZstdCompressor(level=1).compressobj()

    def compress(self, piece: bytes | memoryview) -> bytes:
        return bytes(self._frame.compress(piece))

    def finish(self) -> bytes:
        return bytes(self._frame.flush())


class _ZlibCompressor:
    def __init__(self, wbits: int) -> None:
        self._frame = zlib.compressobj(level=1, wbits=wbits)

    def compress(self, piece: bytes | memoryview) -> bytes:
        return self._frame.compress(piece)

    def finish(self) -> bytes:
        return self._frame.flush()


_COMPRESSORS: dict[str, Callable[[], AnswerCompressor]] = {
    "lz4": _Lz4Compressor,
    "zstd": _ZstdCompressor,
    "gzip": lambda: _ZlibCompressor(wbits=31),
    "deflate": lambda: _ZlibCompressor(wbits=15),
}


def choose_compressor(accept_encoding: str | None) -> tuple[str, AnswerCompressor] | None:
    """Return name and compressor of the cheapest encoding that the client takes, None for none."""
    offered = {part.split(";", 1)[0].strip().lower() for part in (accept_encoding or "").split(",")}
    for name, make in _COMPRESSORS.items():
        if name in offered:
            return name, make()
    return None


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form.

    Attributes:
        fields: Plain fields: the query, its parameters and settings.
        files: Parts with a file name: external tables.
    """

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def parse_multipart(content_type: str, body: bytes) -> Form:
    """Return the parts of a `multipart/form-data` body.

    Raises:
        ClickHouseError: it is not what its content type says.
    """
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary()
    if not boundary:
        raise ClickHouseError(INCORRECT_DATA, "the multipart form has no boundary")
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    sections = (b"\r\n" + body).split(delimiter)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise ClickHouseError(INCORRECT_DATA, "the multipart form is cut off")
    form = Form()
    for section in sections[1:-1]:
        head, separator, content = section.partition(b"\r\n\r\n")
        disposition = Message()
        for line in head.split(b"\r\n"):
            header, _, value = line.decode("utf-8", "replace").partition(":")
            if header.strip().lower() == "content-disposition":
                disposition["Content-Disposition"] = value.strip()
        name = disposition.get_param("name", header="Content-Disposition")
        if not separator or not isinstance(name, str):
            raise ClickHouseError(INCORRECT_DATA, "a part of the multipart form has no name")
        if disposition.get_filename() is None:
            form.fields[name] = content.decode("utf-8", "surrogateescape")
        else:
            form.files[name] = content
    return form
