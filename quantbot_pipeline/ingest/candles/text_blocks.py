"""Text of candle files in blocks of whole lines, in bounded memory, whatever the file is.

A path that is no regular file is refused before it is opened, so that a pipe without a writer hangs nobody. `.gz` is
unpacked as it is read, and given up when it unpacks to more than any real table does. A line that is longer than
anything real is never held whole.
"""

import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from quantbot_pipeline.errors import DataError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 2**20
"""Longest line or JSON element; a candle takes some hundred bytes."""

MAX_COMPRESSION_RATIO = 200
"""Most bytes that one byte of a .gz file may unpack to; tables of candles have 3 to 30."""

RATIO_FREE_BYTES = 64 * 2**20
"""What a .gz file may unpack to whatever its ratio."""

_READ_BYTES = 2**20


def require_regular_file(path: Path) -> None:
    """Refuse what is no file with bytes in it.

    Raises:
        DataError: not there, a folder, a pipe, a device, not readable, or empty.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"{path}: can't be read: Is a directory")
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: is no regular file (a pipe, socket or device); copy its content into one")
    if found.st_size == 0:
        raise DataError(f"{path}: the file is empty (zero bytes); make it again or leave it out")


class _UnpackedBytes(io.RawIOBase):
    """Bytes of a .gz file, unpacked up to what is allowed."""

    def __init__(self, path: Path, stored: BinaryIO) -> None:
        self._path = path
        self._stored = stored
        self._inner = gzip.GzipFile(fileobj=stored)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        try:
            count = self._inner.readinto(buffer)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{self._path}: the gzip stream is broken after {self._count} unpacked bytes: {error}; the file is "
                "refused whole"
            ) from error
        self._count += count
        if self._count > RATIO_FREE_BYTES and self._count > MAX_COMPRESSION_RATIO * max(self._stored.tell(), 1):
            raise DataError(
                f"{self._path}: the gzip stream unpacks to more than {MAX_COMPRESSION_RATIO} times its size, as no "
                "real table does; if it is one, unpack it and import the plain file"
            )
        return count


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading from its start; `.gz` is unpacked.

    Raises:
        DataError: it can't be read, is empty or UTF-16 text, or, while it is read, a broken gzip stream.
    """
    require_regular_file(path)
    try:
        stored = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    with stored:
        stream: BinaryIO = stored
        if path.suffix.lower() == ".gz":
            stream = io.BufferedReader(_UnpackedBytes(path, stored), _READ_BYTES)
        start = stream.peek(4)[:4]  # type: ignore[attr-defined]  # both are BufferedReader, BinaryIO does not tell
        if not start:
            raise DataError(f"{path}: the file is empty (zero bytes after decompression)")
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path}: the text is UTF-16; save the file as UTF-8")
        yield stream


def read_more(path: Path, stream: BinaryIO, size: int) -> bytes:
    """Return the next bytes of a file; fewer than asked for only at its end.

    Raises:
        DataError: they can't be read.
    """
    try:
        return stream.read(size)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Some whole lines of a file.

    Attributes:
        lines_before: Lines before it.
        content: The lines; or the beginning of a line that is too long.
        long_line: Bytes of that line; 0 for whole lines.
    """

    lines_before: int
    content: bytes
    long_line: int = 0


def read_blocks(path: Path, stream: BinaryIO, block_bytes: int) -> Iterator[TextBlock]:
    r"""Yield the text in pieces of whole lines, and of whole CSV records as far as quotation marks tell.

    Args:
        path: The file, for messages.
        stream: Its bytes.
        block_bytes: About how many bytes to take at a time.

    Raises:
        DataError: the file can't be read.
    """
    rest = b""
    lines_before = 0
    while True:
        more = read_more(path, stream, max(block_bytes - len(rest), block_bytes // 8, 1))
        is_end = not more
        rest += more
        begin = 0
        while True:
            cut = end_of_lines(rest, begin, is_end=is_end)
            if cut > begin:
                content = rest[begin:cut]
                yield TextBlock(lines_before, content)
                lines_before += lines_in(content)
                begin = cut
            if len(rest) - begin <= MAX_LINE_BYTES or rest.find(b"\n", begin, begin + MAX_LINE_BYTES + 1) >= 0:
                break
            # The line that starts here is too long: what is left of it is passed over.
            beginning = rest[begin : begin + 2 * 2000]
            length, rest = _skip_line(path, stream, rest[begin:])
            yield TextBlock(lines_before, beginning, length)
            lines_before += 1
            begin = 0
            if not rest:
                break
        rest = rest[begin:]
        if is_end:
            return


def lines_in(content: bytes) -> int:
    r"""Return how many lines a text has, ended by `\n`, `\r\n` or `\r`, or by the end of the text."""
    count = content.count(b"\n")
    if b"\r" in content:
        count += content.count(b"\r") - content.count(b"\r\n")
    return count + (1 if content and not content.endswith((b"\n", b"\r")) else 0)


def too_long(length: int) -> str:
    """Return the reason that refuses a line or an element."""
    return f"the line has {length} bytes; at most {MAX_LINE_BYTES} are allowed"


def _skip_line(path: Path, stream: BinaryIO, text: bytes) -> tuple[int, bytes]:
    """Return the length of the line that the text starts with, and what follows it."""
    length = 0
    while True:
        end = text.find(b"\n")
        if end >= 0:
            return length + end, text[end + 1 :]
        length += len(text)
        text = read_more(path, stream, _READ_BYTES)
        if not text:
            return length, b""


def end_of_lines(text: bytes, begin: int, *, is_end: bool) -> int:
    """Return where to cut: after the last line end outside quotation marks before any line that is too long.

    A quotation mark that nothing closes would leave no such place before it; the text is then cut at its last
    line end, and the record reader names the line at fault.
    """
    position = begin
    while True:
        # The last line end within reach: a line that is too long has none.
        found = text.rfind(b"\n", position, position + MAX_LINE_BYTES + 1)
        if found < 0:
            break
        position = found + 1
    if is_end and len(text) - position <= MAX_LINE_BYTES:
        return len(text)
    last = position
    if text.count(b'"', begin, last) % 2 == 0:
        return last
    before_quote = text.rfind(b"\n", begin, text.rfind(b'"', begin, last)) + 1
    return before_quote if before_quote > begin and text.count(b'"', begin, before_quote) % 2 == 0 else last
