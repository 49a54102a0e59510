"""Rows of CSV files, block by block: the quick way where every line is one good record, record by record elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.columns import ColumnPlan, plan_columns, refuse_values_as_header
from quantbot_pipeline.ingest.candles.rows import CandleRows, one_chunk
from quantbot_pipeline.ingest.candles.text_blocks import (
    MAX_LINE_BYTES,
    TextBlock,
    end_of_lines,
    lines_in,
    open_bytes,
    read_blocks,
    too_long,
)
from quantbot_pipeline.ingest.checked_candles import IDENTITY_COLUMNS
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, shown, storable_text
from quantbot_pipeline.ingest.source_files import (
    CsvRecord,
    SourceFile,
    csv_records,
    has_undecodable_bytes,
    read_header,
    text_lines,
)

_RECORD_BYTES = 2**21
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class _Header:
    """The first record: where the columns are, its text without a byte order mark, and the line after it."""

    name: str
    plan: ColumnPlan
    content: bytes
    next_line: int


def read_csv_rows(path: Path, block_bytes: int) -> Iterator[CandleRows]:
    """Yield the rows of a CSV file, some at a time; of one without rows, none of them once.

    Raises:
        DataError: the file can't be read, or its header can't be used.
    """
    name = storable_text(str(path))
    header: _Header | None = None
    with open_bytes(path) as stream:
        for block in read_blocks(path, stream, block_bytes):
            if block.long_line:
                if header is None:
                    raise DataError(f"{name}: line {block.lines_before + 1}: {too_long(block.long_line)}")
                yield _long_line(header, block)
                continue
            content, lines_before = block.content, block.lines_before
            is_first = header is None
            if header is None:
                content = content.removeprefix(_BOM)
                header = _read_header(name, content)
                content = content[len(header.content) :]
                lines_before = header.next_line - 1
            if content or is_first:
                yield from _block_rows(header, content, lines_before)


def _read_header(name: str, content: bytes) -> _Header:
    source = SourceFile(name=name, kind=".csv", sha256="", content=content[: 2 * MAX_LINE_BYTES])
    lines = text_lines(source)
    record = read_header(source, lines, csv_records(lines))
    plan = plan_columns(record.fields, file=name)
    if not plan.positions and len(record.fields) == 1:
        raise DataError(
            f"{name}: line {record.line} is {shown(record.raw_text(lines))}; "
            "it must name the columns, separated by commas"
        )
    refuse_values_as_header(record.fields, file=name, line=record.line)
    text = "".join(lines[: record.next_line - 1]).encode("utf-8", "surrogateescape")
    return _Header(name, plan, text, record.next_line)


def _long_line(header: _Header, block: TextBlock) -> CandleRows:
    text = storable_text(block.content.decode("utf-8", "surrogateescape"))
    row = QuarantinedRow(header.name, block.lines_before + 1, None, too_long(block.long_line), text)
    return _no_rows(header, (row,))


def _no_rows(header: _Header, broken: tuple[QuarantinedRow, ...]) -> CandleRows:
    empty = pa.array([], type=pa.string())
    return CandleRows(
        file=header.name,
        found_names=header.plan.names,
        row_count=0,
        columns=dict.fromkeys(header.plan.positions, empty),
        line_of=lambda row: row,
        raw_texts_of=lambda _rows: [],
        broken=broken,
        other_times=tuple((header.plan.names[position], empty) for position in header.plan.other_times),
        has_symbols=header.plan.has_symbols,
    )


def _block_rows(header: _Header, content: bytes, lines_before: int) -> Iterator[CandleRows]:
    if not content:
        yield _no_rows(header, ())
        return
    for as_numbers in (True, False) if header.plan.positions else ():
        rows = _plain_rows(header, content, lines_before, as_numbers=as_numbers)
        if rows is not None:
            yield rows
            return
    # Line by line costs fifty times the memory of the text.
    begin = 0
    while begin < len(content):
        is_end = len(content) - begin <= _RECORD_BYTES
        cut = len(content) if is_end else end_of_lines(content[: begin + _RECORD_BYTES], begin, is_end=False)
        if cut <= begin:
            cut = len(content)
        piece = content[begin:cut]
        yield _record_rows(header, piece, lines_before)
        lines_before += lines_in(piece)
        begin = cut


def _plain_rows(header: _Header, content: bytes, lines_before: int, *, as_numbers: bool) -> CandleRows | None:
    """Return the rows of a block in which every line is one good record; None for any other block.

    This is the quick path, about ten times as fast; whatever is out of the ordinary is left to the records.
    """
    if b"\r" in content and content.count(b"\r") != content.count(b"\r\n"):
        return None
    plan = header.plan
    numbers = [str(position) for position in range(len(plan.names))]
    types = {}
    for field, position in plan.positions.items():
        if field in IDENTITY_COLUMNS:
            types[numbers[position]] = pa.dictionary(pa.int32(), pa.string())
        else:
            types[numbers[position]] = pa.string() if field == "timestamp" or not as_numbers else pa.float64()
    types |= {numbers[position]: pa.string() for position in plan.other_times}
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(content),
            read_options=pa_csv.ReadOptions(column_names=numbers, block_size=2**22),
            convert_options=pa_csv.ConvertOptions(
                column_types=types,
                include_columns=[numbers[position] for position in plan.wanted],
                null_values=[""],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowException:
        return None
    if table.num_rows != lines_in(content):
        # Blank lines or quoted line ends: rows and lines do not run in step.
        return None
    columns = {field: one_chunk(table.column(numbers[position])) for field, position in plan.positions.items()}

    def raw_texts_of(wanted_rows: list[int]) -> list[str]:
        lines = content.split(b"\n")
        return [storable_text(lines[row].rstrip(b"\r").decode("utf-8", "surrogateescape")) for row in wanted_rows]

    return CandleRows(
        file=header.name,
        found_names=plan.names,
        row_count=table.num_rows,
        columns=columns,
        line_of=lambda row: lines_before + row + 1,
        raw_texts_of=raw_texts_of,
        broken=(),
        other_times=tuple(
            (plan.names[position], one_chunk(table.column(numbers[position]))) for position in plan.other_times
        ),
        has_symbols=plan.has_symbols,
    )


def _record_rows(header: _Header, content: bytes, lines_before: int) -> CandleRows:
    """Return the rows of a block record by record, with those that can't be split set aside."""
    plan = header.plan
    # The header comes first, so that every record is held to its number of fields.
    first_line = ",".join("x" * len(plan.names))
    source = SourceFile(name=header.name, kind=".csv", sha256="", content=first_line.encode() + b"\n" + content)
    lines = text_lines(source)
    records = csv_records(lines)
    next(records)
    offset = lines_before - 1
    texts: dict[int, list[str]] = {position: [] for position in plan.wanted}
    good: list[CsvRecord] = []
    broken: list[QuarantinedRow] = []
    for record in records:
        raw_text = record.raw_text(lines)
        problem = record.problem
        if problem is None and has_undecodable_bytes(raw_text):
            problem = "the row holds bytes that are not UTF-8"
        if problem is not None:
            line = record.line + offset
            broken.append(QuarantinedRow(header.name, line, None, problem, storable_text(raw_text)))
            continue
        good.append(record)
        for position, column in texts.items():
            column.append(record.fields[position])
    arrays = {position: pa.array(column, type=pa.string()) for position, column in texts.items()}
    return CandleRows(
        file=header.name,
        found_names=plan.names,
        row_count=len(good),
        columns={field: arrays[position] for field, position in plan.positions.items()},
        line_of=lambda row: good[row].line + offset,
        raw_texts_of=lambda wanted_rows: [storable_text(good[row].raw_text(lines)) for row in wanted_rows],
        broken=tuple(broken),
        other_times=tuple((plan.names[position], arrays[position]) for position in plan.other_times),
        has_symbols=plan.has_symbols,
    )
