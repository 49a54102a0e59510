"""Opening what a user gave: bytes, fingerprint, lines, JSON objects, and CSV records that know where they start.

A broken quotation mark in a CSV file must not swallow the rows after it, so the record reader here gives
the first line of such a record up and goes on with the next one.
"""

import csv
import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.text_blocks import require_regular_file
from quantbot_pipeline.ingest.quarantine import is_storable, shown, storable_text

MAX_RECORD_LINES = 1000
"""Lines that one quoted CSV record may span; a longer one has an unclosed quotation mark."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's content, with the fingerprint of its bytes on disk.

    Attributes:
        name: The path as it was given.
        kind: Suffix in lower case without `.gz`, such as `.csv`.
        sha256: Hex digest of the bytes on disk (before decompression).
        content: The bytes, decompressed.
    """

    name: str
    kind: str
    sha256: str
    content: bytes


def kind_of_source(path: Path, *, allowed: tuple[str, ...]) -> str:
    """Return a file's suffix in lower case without `.gz`.

    Args:
        path: The file.
        allowed: Suffixes that may be read; text kinds may end in `.gz` too.

    Raises:
        DataError: wrong kind of file.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_compressed = bool(suffixes) and suffixes[-1] == ".gz"
    kind = (suffixes[-2] if len(suffixes) > 1 else "") if is_compressed else (suffixes[-1] if suffixes else "")
    if kind not in allowed or (is_compressed and kind in (".parquet", ".feather")):
        kinds = ", ".join(allowed)
        raise DataError(f"{path}: files of this kind can't be read; allowed are {kinds} (text also with .gz)")
    return kind


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex.

    Raises:
        DataError: the file can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error


def object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object of its names and values, for `json.loads`.

    Raises:
        ValueError: a name occurs twice.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the name {shown(twice)} occurs twice in one object")
    return result


def read_source_file(path: Path, *, allowed: tuple[str, ...]) -> SourceFile:
    """Read a file whole; `.gz` is decompressed.

    Args:
        path: The file.
        allowed: Suffixes that may be read; text kinds may end in `.gz` too.

    Raises:
        DataError: wrong kind of file, no regular file, not readable, empty, or a broken gzip stream.
    """
    kind = kind_of_source(path, allowed=allowed)
    is_compressed = path.suffix.lower() == ".gz"
    require_regular_file(path)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    sha256 = hashlib.sha256(stored).hexdigest()
    content = stored
    if is_compressed:
        try:
            content = gzip.decompress(stored)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: the gzip stream is broken: {error}") from error
        if not content:
            raise DataError(f"{path}: the file is empty (zero bytes after decompression)")
    return SourceFile(name=storable_text(str(path)), kind=kind, sha256=sha256, content=content)


def text_lines(source: SourceFile) -> list[str]:
    r"""Return the lines of a text file with their line ends (`\n`, `\r\n` or `\r`).

    Bytes that are no UTF-8 become lone surrogates (`surrogateescape`), so that one bad row can be told
    from the others.

    Raises:
        DataError: the file is UTF-16 or UTF-32.
    """
    if source.content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{source.name}: the text is UTF-16; save the file as UTF-8")
    stream = io.TextIOWrapper(io.BytesIO(source.content), encoding="utf-8-sig", errors="surrogateescape", newline="")
    return stream.readlines()


class CsvRecord(NamedTuple):
    """One record of a CSV text.

    Attributes:
        line: Line at which it starts, from 1.
        next_line: Line after its last one.
        fields: Its values; empty when it can't be split.
        problem: Why it can't be split, or that the number of fields is wrong; None for a good record.
    """

    line: int
    next_line: int
    fields: list[str]
    problem: str | None

    def raw_text(self, lines: list[str]) -> str:
        """Return its text among the lines of its file, without the last line end."""
        return "".join(lines[self.line - 1 : self.next_line - 1]).rstrip("\r\n")


class _LineFeed:
    """Hands lines to a csv reader and knows how far it has read."""

    def __init__(self, lines: list[str], position: int) -> None:
        self.lines = lines
        self.position = position
        self.limit = len(lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.position >= self.limit:
            raise StopIteration
        line = self.lines[self.position]
        self.position += 1
        return line


def csv_records(lines: list[str]) -> Iterator[CsvRecord]:
    """Yield the records of a CSV text, the header first; blank lines are no records.

    Every record must have as many fields as the header. One that spans several lines and does not, or whose
    quotation never closes, is given up as its first line alone; reading goes on with the line after that.
    """
    feed = _LineFeed(lines, 0)
    reader = csv.reader(feed, strict=True)
    field_count: int | None = None
    while feed.position < len(lines):
        start = feed.position
        feed.limit = min(len(lines), start + MAX_RECORD_LINES)
        problem: str | None = None
        fields: list[str] = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"the record can't be split into fields: {error}"
        if problem is None:
            if not fields or (len(fields) == 1 and not fields[0].strip()):
                continue
            if field_count is None:
                field_count = len(fields)
            elif len(fields) != field_count:
                problem = f"the record has {len(fields)} fields, the header has {field_count}"
        if problem is not None and feed.position - start > 1:
            if "quot" not in problem:
                problem += " (an unclosed quotation mark?)"
            feed.position = start + 1
            reader = csv.reader(feed, strict=True)
        yield CsvRecord(start + 1, feed.position + 1, fields, problem)


def read_header(source: SourceFile, lines: list[str], records: Iterator[CsvRecord]) -> CsvRecord:
    """Return the first record of a CSV text, which names the columns.

    Args:
        source: The file.
        lines: Its lines.
        records: Its records, none of them taken yet.

    Raises:
        DataError: there is no record, it can't be split into names, or these can't be stored as text.
    """
    header = next(records, None)
    if header is None:
        raise DataError(f"{source.name}: the file has no header; the first line must name the columns")
    problem = header.problem
    if problem is None and not is_storable(header.raw_text(lines)):
        problem = f"{shown(header.raw_text(lines))} holds bytes that are not UTF-8, or NUL"
    if problem is not None:
        raise DataError(f"{source.name}: line {header.line}: {problem}; it must name the columns")
    return header


def column_positions(names: list[str], wanted: tuple[str, ...], *, file: str) -> dict[str, int]:
    """Return where the wanted columns are, by name, whatever their order and case.

    Raises:
        DataError: a wanted column occurs twice.
    """
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        folded = name.strip().casefold()
        if folded not in wanted:
            continue
        if folded in positions:
            raise DataError(f"{file}: column {folded!r} occurs twice; keep one of them")
        positions[folded] = position
    return positions


def has_undecodable_bytes(text: str) -> bool:
    """Return whether a text from `text_lines` holds bytes that were no UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
