"""Copies of ClickHouse's tables as Parquet files, and tables filled from them.

Only rows that the state of Postgres accounts for are copied: of completed runs, of calls and models that are there,
candles as they were when it was seen.
The mirror of the state (`published_*`) is not copied, it is written again from Postgres.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from quantbot_pipeline.errors import DataError, StorageError
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection

RUN_TABLES = ("simulation_events", "simulation_aggregates")
"""Copied for completed runs."""

MIRROR_TABLES = ("published_runs", "published_calls")
"""Written again from Postgres instead of copied."""

COPIED_TABLES = ("ohlcv_candles", *RUN_TABLES, "ml_features", "ml_scores")
"""Every table with rows that exist nowhere else."""

REMEMBERED_TABLES = ("candle_contents",)
"""Made again from others when they are asked for."""

ALL_TABLES = (*COPIED_TABLES, *MIRROR_TABLES, *REMEMBERED_TABLES, "schema_migrations")
"""Every table that migrations make."""

CANDLES_CLONE = "backup_of_ohlcv_candles"
"""What candles are copied from; one that a killed backup left is replaced by the next one."""

# A piece is in memory as a whole, here and in the server: some 60 MB of candles or events.
_CANDLES_PER_PIECE = 500_000
_RUN_ROWS_PER_PIECE = 100_000
_RUNS_PER_PIECE = 10_000
_CALLS_PER_PIECE = 50_000
# The server refuses inserts into more than 100 partitions at once.
_PARTITIONS_PER_PIECE = 50

RowListener = Callable[[int, int], None]
"""Told rows done and rows in all."""


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """What may be copied, from one snapshot of Postgres that is older than the copy.

    Attributes:
        run_ids: Completed runs.
        last_call_id: Newest call.
        last_model_id: Newest model.
    """

    run_ids: Collection[int]
    last_call_id: int
    last_model_id: int


@dataclass(frozen=True, slots=True)
class _Piece:
    query: str
    parameters: dict[str, Any]
    estimated_rows: int


class ClickHouseBackup:
    """Reads and fills the tables of one database.

    Args:
        url: `http(s)://user:password@host:port/database`.
    """

    def __init__(self, url: str) -> None:
        self._connection = ClickHouseConnection(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def server_version(self) -> str:
        """Return the server's version."""
        return str(self._connection.read("backup/load_server_version")["server_version"][0].as_py())

    def tables(self) -> dict[str, int]:
        """Return the tables that keep rows, and about how many they have."""
        rows = self._connection.read("backup/list_tables").to_pylist()
        return {row["table_name"]: row["total_rows"] for row in rows}

    def clone_candles(self) -> None:
        """Hold on to the candles of now under a second name, from which `copy_table` reads them.

        Raises:
            StorageError: the server refuses: before version 24.10, it can't.
        """
        self.drop_tables([CANDLES_CLONE])
        self._connection.run("backup/clone_candles", clone=CANDLES_CLONE)

    def copy_table(self, table: str, file: Path, bounds: HistoryBounds, on_rows: RowListener) -> int:
        """Write a table's rows to a Parquet file and return how many they are.

        A table without rows to copy makes no file.

        Raises:
            StorageError: the server refuses.
            OSError: the disk does.
        """
        pieces = list(self._pieces(table, bounds))
        expected = sum(piece.estimated_rows for piece in pieces)
        copied = 0
        writer: pq.ParquetWriter | None = None
        try:
            for piece in pieces:
                rows = self._connection.read(piece.query, **piece.parameters)
                if rows.num_rows == 0:
                    continue
                if writer is None:
                    writer = _open_writer(file, rows.schema)
                writer.write_table(rows, row_group_size=rows.num_rows)
                copied += rows.num_rows
                on_rows(min(copied, expected), expected)
        finally:
            if writer is not None:
                writer.close()
        on_rows(expected, expected)
        if writer is not None:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        return copied

    def fill_table(self, table: str, file: Path, on_rows: RowListener) -> None:
        """Insert the rows of a file of `copy_table`.

        Raises:
            DataError: the file is no Parquet file.
            StorageError: the server refuses.
        """
        try:
            source = pq.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise DataError(f"{file}: no Parquet file: {error}") from error
        with closing(source):
            done, total = 0, source.metadata.num_rows
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group)
                self._connection.insert_stream(table, rows)
                done += rows.num_rows
                on_rows(done, total)

    def count_rows(self, table: str) -> int:
        """Return how many rows readers of a table see."""
        return int(self._connection.read("backup/count_rows", table=table)["rows"][0].as_py())

    def drop_tables(self, tables: Sequence[str]) -> None:
        """Remove tables that are there, with all rows."""
        for table in tables:
            self._connection.run("backup/drop_table", table=table)

    def _pieces(self, table: str, bounds: HistoryBounds) -> Iterator[_Piece]:
        if table == "ohlcv_candles":
            return self._candle_pieces()
        if table in RUN_TABLES:
            return self._run_pieces(table, bounds)
        if table in ("ml_features", "ml_scores"):
            return _call_pieces(table, bounds, self.tables().get(table, 0))
        raise StorageError(
            f"clickhouse table {table!r} has no way to be copied; allowed are {', '.join(COPIED_TABLES)}"
        )

    def _candle_pieces(self) -> Iterator[_Piece]:
        counts: dict[str, dict[str, int]] = {}
        for row in self._connection.read("backup/count_partition_tokens", table=CANDLES_CLONE).to_pylist():
            counts.setdefault(row["partition_id"], {})[row["token_address"]] = row["candle_count"]
        small = {}
        for partition_id, tokens in counts.items():
            if sum(tokens.values()) <= _CANDLES_PER_PIECE:
                small[partition_id] = sum(tokens.values())
                continue
            for group in _packed(tokens, _CANDLES_PER_PIECE, len(tokens)):
                yield _Piece(
                    "backup/load_partition_tokens",
                    {"table": CANDLES_CLONE, "partition_id": partition_id, "token_addresses": group},
                    sum(tokens[token] for token in group),
                )
        for group in _packed(small, _CANDLES_PER_PIECE, _PARTITIONS_PER_PIECE):
            yield _Piece(
                "backup/load_partitions",
                {"table": CANDLES_CLONE, "partition_ids": group},
                sum(small[partition] for partition in group),
            )

    def _run_pieces(self, table: str, bounds: HistoryBounds) -> Iterator[_Piece]:
        wanted = frozenset(bounds.run_ids)
        counts = {
            row["run_id"]: row["row_count"]
            for row in self._connection.read("backup/count_run_rows", table=table).to_pylist()
            if row["run_id"] in wanted
        }
        for group in _packed(counts, _RUN_ROWS_PER_PIECE, _RUNS_PER_PIECE):
            yield _Piece(
                "backup/load_run_rows",
                {"table": table, "run_ids": group},
                sum(counts[run_id] for run_id in group),
            )


def _call_pieces(table: str, bounds: HistoryBounds, total_rows: int) -> Iterator[_Piece]:
    if total_rows == 0:
        return
    starts = range(1, bounds.last_call_id + 1, _CALLS_PER_PIECE)
    for first in starts:
        parameters = {
            "first_call_id": first,
            "last_call_id": min(first + _CALLS_PER_PIECE - 1, bounds.last_call_id),
        }
        if table == "ml_scores":
            parameters["last_model_id"] = bounds.last_model_id
        yield _Piece("backup/load_features" if table == "ml_features" else "backup/load_scores", parameters,
                     total_rows // len(starts))  # fmt: skip


def _packed(counts: dict[Any, int], most_rows: int, most_keys: int) -> Iterator[list[Any]]:
    """Yield keys in groups of at most so many rows and keys; a key with more rows is a group of its own."""
    group: list[Any] = []
    rows = 0
    for key, count in counts.items():
        if group and (rows + count > most_rows or len(group) >= most_keys):
            yield group
            group, rows = [], 0
        group.append(key)
        rows += count
    if group:
        yield group


def _open_writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        # Dictionaries serve names that repeat; numbers that rarely do only fill them up in vain. Their bytes, each
        # place by itself, are smaller by a sixth.
        use_dictionary=texts,
        use_byte_stream_split=[field.name for field in schema if pa.types.is_floating(field.type)],
    )
