"""Candle files of any size in, checked candles out, some rows at a time.

The rules, the places and the reasons of refusals are those of `candle_files`; what is repeated within one file is
told apart within a batch only, so whoever takes the batches settles what is repeated across them.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, cast
from zoneinfo import ZoneInfo

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_checks import CandleRows, CheckedCandles, check_candles, unknown_interval
from quantbot_pipeline.ingest.candle_files import CANDLE_FILE_KINDS, ParquetColumns, csv_rows, require_columns
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.quarantine import storable_text
from quantbot_pipeline.ingest.source_files import (
    SourceFile,
    csv_records,
    kind_of_source,
    read_header,
    text_lines,
)
from quantbot_pipeline.ingest.timestamps import zone_named

ROWS_PER_BATCH = 2**19
"""Rows of parquet that are looked at together: 60 MB while they are checked."""

BYTES_PER_BATCH = 32 * 2**20
"""Bytes of text that are looked at together; a file of no more is one batch."""


def iterate_candles(path: Path, *, options: CandleReadOptions | None = None) -> Iterator[CheckedCandles]:
    """Yield the candles of a file, some rows at a time.

    Args:
        path: One of `CANDLE_FILE_KINDS`, text also with `.gz`.
        options: What the file does not say.

    Yields:
        The candles of some neighbouring rows, sorted by series and time, in file order of the batches. Rows that
        can't be used are in `quarantined`, with their place in the file.

    Raises:
        DataError: as for `read_candle_file`.
    """
    options = options or CandleReadOptions()
    zone: ZoneInfo | None = zone_named(options.timezone) if options.timezone is not None else None
    if options.interval is not None and options.interval not in INTERVAL_SECONDS:
        raise DataError(unknown_interval(options.interval))
    given: dict[str, str | None] = {
        "chain": options.chain,
        "token_address": options.token,
        "interval": options.interval,
    }
    kind = kind_of_source(path, allowed=CANDLE_FILE_KINDS)
    _refuse_empty(path)
    for rows in _parquet_rows(path) if kind == ".parquet" else _csv_rows(path, kind):
        require_columns(rows, given)
        yield check_candles(rows, given, zone)


def _refuse_empty(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    if size == 0:
        raise DataError(f"{path}: the file is empty (zero bytes); make it again or leave it out")


def _parquet_rows(path: Path) -> Iterator[CandleRows]:
    columns = ParquetColumns(storable_text(str(path)), path)
    try:
        yield from columns.batches(ROWS_PER_BATCH)
    finally:
        columns.close()


def _csv_rows(path: Path, kind: str) -> Iterator[CandleRows]:
    name = storable_text(str(path))
    header = b""
    header_lines = lines_before = 0
    with _opened(path) as stream:
        for block in _blocks(path, stream):
            source = SourceFile(name=name, kind=kind, sha256="", content=header + block)
            lines = text_lines(source)
            yield _moved(csv_rows(source, lines), lines_before)
            if not header:
                header_lines = read_header(source, lines, csv_records(lines)).next_line - 1
                header = "".join(lines[:header_lines]).encode("utf-8", "surrogateescape")
                lines_before -= header_lines
                lines_before += len(lines)
            else:
                lines_before += len(lines) - header_lines


def _moved(rows: CandleRows, lines_before: int) -> CandleRows:
    """Return rows of a later block, with the places that they have in the file."""
    if lines_before == 0:
        return rows
    return replace(
        rows,
        line_of=lambda row: rows.line_of(row) + lines_before,
        broken=tuple(replace(row, line=row.line + lines_before) for row in rows.broken),
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as stored:
        if path.suffix.lower() != ".gz":
            yield stored
            return
        with gzip.GzipFile(fileobj=stored) as stream:
            yield cast("IO[bytes]", stream)


def _blocks(path: Path, stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the text in pieces of whole records, as far as quotation marks tell.

    Raises:
        DataError: the file can't be read, is empty, or its gzip stream is broken.
    """
    rest = b""
    is_empty = True
    while True:
        try:
            more = stream.read(max(BYTES_PER_BATCH - len(rest), BYTES_PER_BATCH // 8))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path}: the gzip stream is broken: {error}") from error
        except OSError as error:
            raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
        rest += more
        if not more:
            break
        is_empty = False
        if len(rest) < BYTES_PER_BATCH:
            continue
        cut = _end_of_records(rest)
        if cut:
            yield rest[:cut]
            rest = rest[cut:]
    if is_empty:
        raise DataError(f"{path}: the file is empty (zero bytes after decompression)")
    if rest:
        yield rest


def _end_of_records(text: bytes) -> int:
    """Return where to cut: after the last line end outside quotation marks, 0 if there is no line end.

    A quotation mark that nothing closes would leave no such place before it; the text is then cut at its last
    line end, and the record reader names the line at fault.
    """
    last = text.rfind(b"\n") + 1
    if text.count(b'"', 0, last) % 2 == 0:
        return last
    before_quote = text.rfind(b"\n", 0, text.rfind(b'"', 0, last)) + 1
    return before_quote if before_quote and text.count(b'"', 0, before_quote) % 2 == 0 else last
