"""Rows of parquet and feather files, batch by batch."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.columns import ColumnPlan, plan_columns
from quantbot_pipeline.ingest.candles.rows import CandleRows, one_chunk
from quantbot_pipeline.ingest.candles.text_blocks import require_regular_file
from quantbot_pipeline.ingest.checked_candles import IDENTITY_COLUMNS
from quantbot_pipeline.ingest.quarantine import storable_text

MAX_BATCH_BYTES = 256 * 2**20
"""Bytes of a batch of parquet, unpacked, as far as the file tells."""

MAX_OLD_FEATHER_BYTES = 2**30
"""Largest feather file of version 1, which can't be read in pieces."""


def read_parquet_rows(path: Path, row_count: int) -> Iterator[CandleRows]:
    """Yield the rows of a parquet file, so many at a time; of one without rows, none of them once.

    Raises:
        DataError: the file can't be read.
    """
    require_regular_file(path)
    name = storable_text(str(path))
    with _reading(name, "parquet"):
        # Pages are read one after the other: a row group may be as large as the file.
        schema = pq.read_schema(path)
        plan = plan_columns(list(schema.names), file=name)
        # Identities repeat on every row: as dictionaries they cost next to nothing.
        as_dictionary = [
            plan.names[plan.positions[column]]
            for column in IDENTITY_COLUMNS
            if column in plan.positions and pa.types.is_string(schema.field(plan.positions[column]).type)
        ]
        file = pq.ParquetFile(path, read_dictionary=as_dictionary, buffer_size=2**20, pre_buffer=False)
    with file:
        first_row = 1
        with _reading(name, "parquet"):
            row_count = min(row_count, _rows_within_bounds(file, plan))
            wanted = [plan.names[position] for position in plan.wanted]
            batches = file.iter_batches(batch_size=row_count, columns=wanted)
        while True:
            with _reading(name, "parquet"):
                batch = next(batches, None)
            if batch is None:
                break
            yield _rows(name, "parquet", plan, pa.table(batch), first_row)
            first_row += batch.num_rows
        if first_row == 1:
            with _reading(name, "parquet"):
                table = file.read(columns=wanted)
            yield _rows(name, "parquet", plan, table, 1)


def _rows_within_bounds(file: pq.ParquetFile, plan: ColumnPlan) -> int:
    """Return how many rows make a batch of the allowed bytes, in the row group of the largest rows."""
    wanted = {plan.names[position] for position in plan.wanted}
    largest = 1.0
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        columns = [group.column(position) for position in range(group.num_columns)]
        size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema in wanted)
        largest = max(largest, size / max(group.num_rows, 1))
    return max(1, int(MAX_BATCH_BYTES / largest))


def read_feather_rows(path: Path, row_count: int) -> Iterator[CandleRows]:
    """Yield the rows of a feather file (version 1 or 2), so many at a time; of one without rows, none of them once.

    Raises:
        DataError: the file can't be read.
    """
    require_regular_file(path)
    name = storable_text(str(path))
    first_row = 1
    plan: ColumnPlan | None = None
    for table in _feather_tables(path, name):
        plan = plan or plan_columns(table.column_names, file=name)
        for start in range(0, max(table.num_rows, 1), row_count):
            piece = table.slice(start, row_count)
            if piece.num_rows or (first_row == 1 and start == 0):
                yield _rows(name, "feather", plan, piece, first_row)
            first_row += piece.num_rows


def _feather_tables(path: Path, name: str) -> Iterator[pa.Table]:
    with _reading(name, "feather"):
        with path.open("rb") as stream:
            magic = stream.read(6)
        if magic.startswith(b"FEA1"):
            size = path.stat().st_size
            if size > MAX_OLD_FEATHER_BYTES:
                raise DataError(
                    f"{name}: a feather file of version 1 has at most {MAX_OLD_FEATHER_BYTES // 2**20} MiB, this one "
                    f"{size // 2**20}; write it as version 2 or parquet"
                )
            from pyarrow.feather import read_table

            yield read_table(path, memory_map=False)
            return
        source = pa.OSFile(str(path), "rb")
    with source:
        with _reading(name, "feather"):
            reader = pa_ipc.open_file(source)
            empty = reader.schema.empty_table()
            batch_count = reader.num_record_batches
        if batch_count == 0:
            yield empty
        for number in range(batch_count):
            with _reading(name, "feather"):
                table = pa.table(reader.get_batch(number))
            yield table


def _rows(name: str, kind: str, plan: ColumnPlan, table: pa.Table, first_row: int) -> CandleRows:
    with _reading(name, kind):
        columns = {field: one_chunk(table.column(plan.names[at])) for field, at in plan.positions.items()}
        other_times = tuple((plan.names[at], one_chunk(table.column(plan.names[at]))) for at in plan.other_times)
        for column in (*columns.values(), *(column for _, column in other_times)):
            if not pa.types.is_primitive(column.type):
                # Arrow does not look into texts when it reads them; what is no UTF-8 would fail much later.
                column.validate(full=True)
    everything = columns | dict(other_times)

    def raw_texts_of(wanted_rows: list[int]) -> list[str]:
        cells = (column.take(pa.array(wanted_rows, type=pa.int64())).to_pylist() for column in everything.values())
        return [
            storable_text(json.dumps(dict(zip(everything, map(_json_value, row), strict=True)), ensure_ascii=False))
            for row in zip(*cells, strict=True)
        ]

    return CandleRows(
        file=name,
        found_names=plan.names,
        row_count=table.num_rows,
        columns=columns,
        line_of=lambda row: first_row + row,
        raw_texts_of=raw_texts_of,
        broken=(),
        other_times=other_times,
        has_symbols=plan.has_symbols,
    )


def _json_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, str):
        return storable_text(value)
    return value if isinstance(value, (int, float, bool)) or value is None else storable_text(str(value))


@contextmanager
def _reading(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, OSError, KeyError, NotImplementedError) as error:
        first_line = (str(error).splitlines() or ["unknown error"])[0]
        raise DataError(f"{name}: can't be read as {kind}: {storable_text(first_line)}") from error
