"""Opening alert files of any size: text in pieces, in bounded memory, with the fingerprint of the bytes on disk.

A line, a message or a tag that is longer than anything real is never held whole; a file that unpacks to
more than anything real is refused.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import RAW_TEXT_LIMIT, storable_text

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_RECORD_CHARACTERS = 1_000_000
"""Longest line, message or table row; a Telegram message has 4 096 characters."""

MAX_STREAMED_BYTES = 4 * 1024**3
"""Most bytes of a file that is read piece by piece (JSON, JSON Lines, HTML), decompressed."""
MAX_TABLE_BYTES = 512 * 1024**2
"""Most bytes of a CSV file, which is held in memory, decompressed."""

MAX_COMPRESSION_RATIO = 200
"""Most bytes that one byte of a .gz file may unpack to; chat exports and tables have 3 to 30."""
_RATIO_FREE_BYTES = 16 * 1024**2
_CHUNK_CHARACTERS = 1 << 18


@dataclass
class TextSource:
    """An open alert file.

    Attributes:
        name: The path as it was given.
        kind: Suffix in lower case without `.gz`, such as `.csv`.
        stream: Its text; bytes that are no UTF-8 are lone surrogates (`surrogateescape`).
        sha256: Hex digest of the bytes on disk; empty until the file is closed.
    """

    name: str
    kind: str
    stream: io.TextIOWrapper
    sha256: str = ""

    def chunks(self) -> Iterator[str]:
        """Yield the text in pieces."""
        while chunk := self.stream.read(_CHUNK_CHARACTERS):
            yield chunk


class TextLine(NamedTuple):
    """One line.

    Attributes:
        text: The line with its end; of a line that is too long, its beginning.
        length: Characters of the whole line.
    """

    text: str
    length: int

    @property
    def problem(self) -> str | None:
        """Why the line can't be used; None if it can."""
        return too_long(self.length) if self.length > MAX_RECORD_CHARACTERS else None


def too_long(length: int) -> str:
    """Return the reason of a row that is too long."""
    return f"the row has {length} characters or more; at most {MAX_RECORD_CHARACTERS} are allowed"


class _HashedFile(io.RawIOBase):
    """A file that fingerprints what is read of it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        count = self._file.readinto(buffer)
        view = memoryview(buffer)[:count]
        self.digest.update(view)
        self.count += count
        return count


class _BoundedBytes(io.RawIOBase):
    """Bytes of a file, decompressed, up to what is allowed."""

    def __init__(self, inner: io.BufferedIOBase, hashed: _HashedFile, name: str, limit: int, compressed: bool) -> None:  # noqa: FBT001 - private
        self._inner = inner
        self._hashed = hashed
        self._name = name
        self._limit = limit
        self._is_compressed = compressed
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        try:
            count = self._inner.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            if self._is_compressed:
                raise DataError(f"{self._name}: the gzip stream is broken: {error}") from error
            raise DataError(f"{self._name}: can't be read: {error}") from error
        self.count += count
        if self.count > self._limit:
            raise DataError(
                f"{self._name}: the file holds more than {self._limit // 1024**2} MiB"
                f"{' once decompressed' if self._is_compressed else ''}, which is the most that is allowed; split it"
            )
        if (
            self._is_compressed
            and self.count > _RATIO_FREE_BYTES
            and self.count > MAX_COMPRESSION_RATIO * self._hashed.count
        ):
            raise DataError(
                f"{self._name}: the gzip stream unpacks to more than {MAX_COMPRESSION_RATIO} times its size, as no "
                "real export does; if it is one, unpack it and import the plain file"
            )
        return count


@contextmanager
def open_text_source(path: Path, *, allowed: tuple[str, ...]) -> Iterator[TextSource]:
    """Open a text file; `.gz` is decompressed. Its fingerprint is known once it is closed.

    Args:
        path: The file.
        allowed: Suffixes that may be read, each also with `.gz`.

    Raises:
        DataError: wrong kind of file, not readable, empty, UTF-16, or, while it is read, a broken gzip stream or
            more bytes than are allowed.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_compressed = bool(suffixes) and suffixes[-1] == ".gz"
    kind = (suffixes[-2] if len(suffixes) > 1 else "") if is_compressed else (suffixes[-1] if suffixes else "")
    if kind not in allowed:
        raise DataError(
            f"{path}: files of this kind can't be read; allowed are {', '.join(allowed)} (each also with .gz)"
        )
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: is no regular file; copy its content into one")
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    with file:
        hashed = _HashedFile(file)
        on_disk = io.BufferedReader(hashed, 1 << 16)
        limit = MAX_TABLE_BYTES if kind == ".csv" else MAX_STREAMED_BYTES
        if not on_disk.peek(1):
            raise DataError(f"{path}: the file is empty (zero bytes); make it again or leave it out")
        content: io.BufferedIOBase = gzip.GzipFile(fileobj=on_disk, mode="rb") if is_compressed else on_disk
        bounded = io.BufferedReader(_BoundedBytes(content, hashed, str(path), limit, is_compressed), 1 << 16)
        start = bounded.peek(2)[:2]
        if not start:
            raise DataError(f"{path}: the file is empty (zero bytes after decompression)")
        if start in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path}: the text is UTF-16; save the file as UTF-8")
        stream = io.TextIOWrapper(bounded, encoding="utf-8-sig", errors="surrogateescape", newline="")
        source = TextSource(name=storable_text(str(path)), kind=kind, stream=stream)
        yield source
        while on_disk.read(1 << 16):
            # What follows the last row belongs to the fingerprint too.
            pass
        source.sha256 = hashed.digest.hexdigest()


def bounded_lines(source: TextSource) -> Iterator[TextLine]:
    r"""Yield the lines of a file with their ends (`\n`, `\r\n` or `\r`), none of them held whole if it is too long."""
    stream = source.stream
    while text := stream.readline(MAX_RECORD_CHARACTERS + 2):
        length = len(text)
        if length <= MAX_RECORD_CHARACTERS or text.endswith(("\n", "\r")):
            yield TextLine(text, length)
            continue
        piece = text
        text = text[:RAW_TEXT_LIMIT]
        while piece and not piece.endswith(("\n", "\r")):
            piece = stream.readline(_CHUNK_CHARACTERS)
            length += len(piece)
        yield TextLine(text, length)
