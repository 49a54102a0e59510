"""Candle files in, checked candles out: parquet and CSV, whole files at a time."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_checks import (
    CANDLE_SCHEMA,
    IDENTITY_COLUMNS,
    OPTION_OF_COLUMN,
    VALUE_COLUMNS,
    CandleRows,
    check_candles,
    unknown_interval,
)
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, shown, storable_text
from quantbot_pipeline.ingest.source_files import (
    CsvRecord,
    SourceFile,
    column_positions,
    csv_records,
    has_undecodable_bytes,
    read_header,
    read_source_file,
    text_lines,
)
from quantbot_pipeline.ingest.timestamps import zone_named

__all__ = [
    "CANDLE_FILE_KINDS",
    "CANDLE_SCHEMA",
    "CandleFile",
    "ParquetColumns",
    "csv_rows",
    "read_candle_file",
    "require_columns",
]

CANDLE_FILE_KINDS = (".parquet", ".csv")
"""Suffixes of candle files; text also with `.gz`."""

_WANTED = ("timestamp", *VALUE_COLUMNS, *IDENTITY_COLUMNS)


@dataclass(frozen=True)
class CandleFile:
    """What one candle file held.

    `rows_read == candles.num_rows + duplicates + conflicts + len(quarantined)` always holds.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes.
        rows_read: Rows in the file, the header and blank lines aside.
        candles: Good candles of `CANDLE_SCHEMA`, one per (chain, token_address, interval, timestamp),
            sorted by these.
        duplicates: Rows that repeat a stored candle of this file exactly.
        conflicts: Rows whose key came again later in the file with other values; the last row won.
        quarantined: Rows that can't be used, in file order.
    """

    path: Path
    sha256: str
    rows_read: int
    candles: pa.Table
    duplicates: int
    conflicts: int
    quarantined: tuple[QuarantinedRow, ...]


def read_candle_file(
    path: Path,
    *,
    chain: str | None = None,
    token: str | None = None,
    interval: str | None = None,
    timezone: str | None = None,
) -> CandleFile:
    """Read one candle file and check every row against the rules of a valid candle.

    Columns are found by name, in any order and case: timestamp, open, high, low, close, volume, and chain,
    token_address, interval where the file has them. Further columns are ignored. The file is held in memory.

    Args:
        path: `.parquet`, `.csv` or `.csv.gz`.
        chain: Chain of every row, for files without that column (or with empty cells in it).
        token: Token address of every row, likewise.
        interval: Interval name of every row, likewise; a key of `INTERVAL_SECONDS`.
        timezone: IANA zone of times that state none; without it such rows are quarantined.

    Raises:
        DataError: the file can't be read, a column is missing and no argument stands in for it, an argument
            is not usable or contradicts the file, or a typed column has times without a zone and `timezone`
            is not given.
    """
    zone = zone_named(timezone) if timezone is not None else None
    if interval is not None and interval not in INTERVAL_SECONDS:
        raise DataError(unknown_interval(interval))
    given = {"chain": chain, "token_address": token, "interval": interval}
    source = read_source_file(path, allowed=CANDLE_FILE_KINDS)
    rows = _whole_parquet_rows(source) if source.kind == ".parquet" else _whole_csv_rows(source)
    require_columns(rows, given)
    checked = check_candles(rows, given, zone)
    return CandleFile(
        path=path,
        sha256=source.sha256,
        rows_read=rows.row_count + len(rows.broken),
        candles=checked.table(),
        duplicates=checked.duplicates,
        conflicts=checked.conflicts,
        quarantined=checked.quarantined,
    )


def require_columns(rows: CandleRows, given: dict[str, str | None]) -> None:
    """Refuse rows that lack a column, unless an argument stands in for it.

    Raises:
        DataError: a column is missing; the message names those that were found.
    """
    for name in ("timestamp", *VALUE_COLUMNS):
        if name not in rows.columns:
            raise DataError(
                f"{rows.file}: column {name!r} is missing; needed are timestamp, {', '.join(VALUE_COLUMNS)}; "
                f"found are {', '.join(shown(found) for found in rows.found_names) or 'no columns'}"
            )
    for name in IDENTITY_COLUMNS:
        if name not in rows.columns and given[name] is None:
            raise DataError(
                f"{rows.file}: column {name!r} is missing (found are {', '.join(map(shown, rows.found_names))}); "
                f"name it for the whole file with {OPTION_OF_COLUMN[name]}"
            )


class ParquetColumns:
    """The columns of a parquet file that candles are made of.

    Attributes:
        name: The file's name as given.
        file: The open file.
        names: All its column names.
        positions: Position of each wanted column that it has, by name.
    """

    def __init__(self, name: str, content: Any) -> None:
        """Open a parquet file.

        Args:
            name: The file's name as given.
            content: Its path, or an Arrow reader of its bytes.

        Raises:
            DataError: it is no parquet, or a wanted column occurs twice.
        """
        self.name = name
        with self._reading():
            # Pages are read one after the other: a row group may be as large as the file.
            schema = pq.read_schema(content)
            self.names = list(schema.names)
            self.positions = column_positions(self.names, _WANTED, file=name)
            # Identities repeat on every row: as dictionaries they cost next to nothing.
            as_dictionary = [
                self.names[self.positions[column]]
                for column in IDENTITY_COLUMNS
                if column in self.positions and pa.types.is_string(schema.field(self.positions[column]).type)
            ]
            self.file = pq.ParquetFile(content, read_dictionary=as_dictionary, buffer_size=2**20, pre_buffer=False)

    def rows(self) -> CandleRows:
        """Return all rows.

        Raises:
            DataError: the file is broken.
        """
        with self._reading():
            table = self.file.read(columns=self._columns())
            columns = {name: _one_chunk(table.column(self.names[at])) for name, at in self.positions.items()}
        return self._candle_rows(columns, table.num_rows, first_row=1)

    def batches(self, row_count: int) -> Iterator[CandleRows]:
        """Yield the rows in file order, so many at a time; a file without rows yields none of them once.

        Raises:
            DataError: the file is broken.
        """
        first_row = 1
        with self._reading():
            batches = self.file.iter_batches(batch_size=row_count, columns=self._columns())
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                break
            columns = {name: batch.column(self.names[at]) for name, at in self.positions.items()}
            yield self._candle_rows(columns, batch.num_rows, first_row=first_row)
            first_row += batch.num_rows
        if first_row == 1:
            yield self.rows()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _columns(self) -> list[str]:
        return [self.names[position] for position in self.positions.values()]

    def _candle_rows(self, columns: dict[str, pa.Array], row_count: int, *, first_row: int) -> CandleRows:
        with self._reading():
            for column in columns.values():
                if not pa.types.is_primitive(column.type):
                    # Arrow does not look into texts when it reads them; what is no UTF-8 would fail much later.
                    column.validate(full=True)

        def raw_texts_of(wanted_rows: list[int]) -> list[str]:
            cells = (column.take(pa.array(wanted_rows, type=pa.int64())).to_pylist() for column in columns.values())
            return [
                storable_text(json.dumps(dict(zip(columns, map(_json_value, row), strict=True)), ensure_ascii=False))
                for row in zip(*cells, strict=True)
            ]

        return CandleRows(
            file=self.name,
            found_names=tuple(self.names),
            row_count=row_count,
            columns=columns,
            line_of=lambda row: first_row + row,
            raw_texts_of=raw_texts_of,
            broken=(),
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, ValueError, OSError) as error:
            first_line = (str(error).splitlines() or ["unknown error"])[0]
            raise DataError(f"{self.name}: can't be read as parquet: {first_line}") from error


def _whole_parquet_rows(source: SourceFile) -> CandleRows:
    return ParquetColumns(source.name, pa.BufferReader(source.content)).rows()


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        # Older Arrow versions give back a chunked array, of no chunk at all when it is empty.
        return combined.chunk(0) if combined.num_chunks else pa.array([], type=column.type)
    return combined


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _whole_csv_rows(source: SourceFile) -> CandleRows:
    return csv_rows(source, text_lines(source))


def csv_rows(source: SourceFile, lines: list[str]) -> CandleRows:
    """Return the rows of a CSV text.

    Args:
        source: The text; its first record names the columns.
        lines: Its lines.

    Raises:
        DataError: the header can't be used.
    """
    records = csv_records(lines)
    header = read_header(source, lines, records)
    positions = column_positions(header.fields, _WANTED, file=source.name)
    if not positions and len(header.fields) == 1:
        raise DataError(
            f"{source.name}: line {header.line} is {shown(header.raw_text(lines))}; "
            "it must name the columns, separated by commas"
        )
    plain = _plain_csv_rows(source, lines, header, positions)
    return plain if plain is not None else _any_csv_rows(source, lines, header, records, positions)


def _plain_csv_rows(
    source: SourceFile, lines: list[str], header: CsvRecord, positions: dict[str, int]
) -> CandleRows | None:
    """Return the rows of a CSV file in which every line is one good record; None for any other file.

    This is the quick path, about ten times as fast; whatever is out of the ordinary is left to the records.
    """
    row_count = len(lines) - header.next_line + 1
    if row_count == 0 or not positions:
        return None
    numbers = [str(position) for position in range(len(header.fields))]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(source.content),
            read_options=pa_csv.ReadOptions(skip_rows=header.next_line - 1, column_names=numbers),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(numbers, pa.string()),
                include_columns=[numbers[position] for position in positions.values()],
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != row_count:
        # Blank lines or quoted line ends: rows and lines do not run in step.
        return None
    return CandleRows(
        file=source.name,
        found_names=tuple(header.fields),
        row_count=row_count,
        columns={name: _one_chunk(table.column(numbers[position])) for name, position in positions.items()},
        line_of=lambda row: header.next_line + row,
        raw_texts_of=lambda wanted_rows: [
            storable_text(lines[header.next_line + row - 1].rstrip("\r\n")) for row in wanted_rows
        ],
        broken=(),
    )


def _any_csv_rows(
    source: SourceFile,
    lines: list[str],
    header: CsvRecord,
    records: Iterator[CsvRecord],
    positions: dict[str, int],
) -> CandleRows:
    """Return the rows of a CSV file record by record, with those that can't be split set aside."""
    texts: dict[str, list[str]] = {name: [] for name in positions}
    good: list[tuple[int, int]] = []
    broken: list[QuarantinedRow] = []
    for record in records:
        raw_text = record.raw_text(lines)
        problem = record.problem
        if problem is None and has_undecodable_bytes(raw_text):
            problem = "the row holds bytes that are not UTF-8"
        if problem is not None:
            broken.append(QuarantinedRow(source.name, record.line, None, problem, storable_text(raw_text)))
            continue
        good.append((record.line, record.next_line))
        for name, position in positions.items():
            texts[name].append(record.fields[position])

    def raw_texts_of(wanted_rows: list[int]) -> list[str]:
        spans = (good[row] for row in wanted_rows)
        return [storable_text("".join(lines[line - 1 : next_line - 1]).rstrip("\r\n")) for line, next_line in spans]

    return CandleRows(
        file=source.name,
        found_names=tuple(header.fields),
        row_count=len(good),
        columns={name: pa.array(column, type=pa.string()) for name, column in texts.items()},
        line_of=lambda row: good[row][0],
        raw_texts_of=raw_texts_of,
        broken=tuple(broken),
    )
