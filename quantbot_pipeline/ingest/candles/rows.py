"""Rows of a candle file before any rule was applied, and how pieces of them are put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.ingest.quarantine import QuarantinedRow


@dataclass(frozen=True)
class CandleRows:
    """The rows of a file, or of a piece of it, before any rule was applied.

    Attributes:
        file: The file's name as given.
        found_names: All column names of the file, as they are spelled there.
        row_count: Rows in `columns`.
        columns: The columns that were found, as Arrow arrays of one chunk: `timestamp`, open to volume, and `chain`,
            `token_address`, `interval` where the file has them; `quote_volume` where rows say the volume in USD or
            another quote currency instead.
        line_of: Line (or 1-based row) of a row index.
        raw_texts_of: Raw texts of row indices.
        broken: Records that could not even be split into columns; they are not among `columns`.
        other_times: Further columns that say the time, with their names.
        has_symbols: Whether `token_address` holds names of tokens rather than addresses, which an option may replace.
    """

    file: str
    found_names: tuple[str, ...]
    row_count: int
    columns: dict[str, pa.Array]
    line_of: Callable[[int], int]
    raw_texts_of: Callable[[list[int]], list[str]]
    broken: tuple[QuarantinedRow, ...]
    other_times: tuple[tuple[str, pa.Array], ...] = ()
    has_symbols: bool = False

    def take(self, wanted: IntArray) -> "CandleRows":
        """Return some of the rows, without those that are broken."""
        positions = pa.array(wanted, type=pa.int64())
        return replace(
            self,
            row_count=len(wanted),
            columns={name: column.take(positions) for name, column in self.columns.items()},
            line_of=lambda row: self.line_of(int(wanted[row])),
            raw_texts_of=lambda rows: self.raw_texts_of([int(wanted[row]) for row in rows]),
            broken=(),
            other_times=tuple((name, column.take(positions)) for name, column in self.other_times),
        )

    def detached(self) -> "CandleRows":
        """Return the same rows, which hold on to nothing of the piece that they come from."""
        lines = [self.line_of(row) for row in range(self.row_count)]
        texts = self.raw_texts_of(list(range(self.row_count)))
        return replace(
            self,
            line_of=lambda row: lines[row],
            raw_texts_of=lambda rows: [texts[row] for row in rows],
        )


def joined(pieces: Sequence[CandleRows]) -> CandleRows:
    """Return pieces of one file, one after the other, as one; at least one piece."""
    if len(pieces) == 1:
        return pieces[0]
    starts = np.cumsum([0, *(piece.row_count for piece in pieces)])
    first = pieces[0]

    def place(row: int) -> tuple[CandleRows, int]:
        number = int(np.searchsorted(starts, row, side="right")) - 1
        return pieces[number], row - int(starts[number])

    def line_of(row: int) -> int:
        piece, position = place(row)
        return piece.line_of(position)

    def raw_texts_of(rows: list[int]) -> list[str]:
        texts = [""] * len(rows)
        places = [int(np.searchsorted(starts, row, side="right")) - 1 for row in rows]
        for number in sorted(set(places)):
            mine = [position for position, found in enumerate(places) if found == number]
            found_texts = pieces[number].raw_texts_of([rows[position] - int(starts[number]) for position in mine])
            for position, text in zip(mine, found_texts, strict=True):
                texts[position] = text
        return texts

    names = list(dict.fromkeys(name for piece in pieces for name in piece.columns))
    time_names = list(dict.fromkeys(name for piece in pieces for name, _ in piece.other_times))
    return replace(
        first,
        row_count=int(starts[-1]),
        columns={
            name: _joined_column([piece.columns.get(name) for piece in pieces], [piece.row_count for piece in pieces])
            for name in names
        },
        line_of=line_of,
        raw_texts_of=raw_texts_of,
        broken=tuple(row for piece in pieces for row in piece.broken),
        other_times=tuple(
            (
                name,
                _joined_column(
                    [dict(piece.other_times).get(name) for piece in pieces], [piece.row_count for piece in pieces]
                ),
            )
            for name in time_names
        ),
    )


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    combined = column.unify_dictionaries().combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        # Older Arrow versions give back a chunked array, of no chunk at all when it is empty.
        return combined.chunk(0) if combined.num_chunks else pa.array([], type=column.type)
    return combined


def _joined_column(parts: Sequence[pa.Array | None], row_counts: Sequence[int]) -> pa.Array:
    known = [part for part in parts if part is not None]
    kinds = {part.type for part in known}
    if len(kinds) > 1:
        # A column of JSON may be numbers in one piece and texts in the next.
        known = [part.cast(pa.string()) for part in known]
    kind = known[0].type
    remaining = iter(known)
    pieces = [
        next(remaining) if part is not None else pa.nulls(count, kind)
        for part, count in zip(parts, row_counts, strict=True)
    ]
    return one_chunk(pa.chunked_array(pieces))
