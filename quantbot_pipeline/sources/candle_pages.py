"""What a source of candles is, and how the rows of its answers reach the rules of a valid candle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import pyarrow as pa

from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.checked_candles import VALUE_COLUMNS
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, storable_text
from quantbot_pipeline.ingest.tokens import TokenKey

PAGE_CANDLES = 1000
"""Candles of one answer, at most; both APIs document it."""

Side = Literal["base", "quote"]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Market:
    """Where a source looks for a token's candles.

    Attributes:
        token: The token.
        pool_address: The pool whose trades make the candles; None for a source that puts all pools together.
        side: Which of the pool's two tokens it is.
        pool_created_at: When the pool was made, UTC; None while unknown.
    """

    token: TokenKey
    pool_address: str | None = None
    side: Side = "base"
    pool_created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CandlePage:
    """One answer.

    Attributes:
        start: From here, seconds since the epoch, inclusive,
        end: to here, exclusive, the source has nothing more than these rows: what is absent was not traded. Both are
            equal where that can't be said of any time.
        rows: Its rows, before any rule was applied; some may lie outside of `start … end`.
        sha256: Of the answer's bytes, hex.
    """

    start: int
    end: int
    rows: CandleRows
    sha256: str

    @property
    def row_count(self) -> int:
        """Rows that came, also those that can't be split into columns."""
        return self.rows.row_count + len(self.rows.broken)


class CandleSource(Protocol):
    """An API that knows candles of tokens."""

    @property
    def name(self) -> str:
        """Name on the command line and in the database."""
        ...

    @property
    def intervals(self) -> Sequence[str]:
        """Intervals that it has, finest first."""
        ...

    @property
    def request_count(self) -> int:
        """Requests sent so far, tries included."""
        ...

    def serves(self, chain: str) -> bool:
        """Return whether it knows tokens of a chain."""
        ...

    def find_market(self, token: TokenKey) -> Market:
        """Return where the token's candles are.

        Raises:
            SourceError: it is not known there, or no usable answer came.
        """
        ...

    def pages(self, market: Market, interval: str, start: int, end: int) -> Iterator[CandlePage]:
        """Yield the candles with `start <= timestamp < end`, both on the grid of the interval, page by page.

        What a caller has stored of the pages `start … end` of which it took, it need not ask for again. Together they
        cover the range, but for what a source can't vouch for.

        Raises:
            SourceError: no usable answer came.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def candle_rows(name: str, records: Sequence[Record | None], raw_rows: Sequence[Any]) -> CandleRows:
    """Return the rows of an answer for `ingest.candle_checks.check_candles`.

    All values travel as text: the checks then judge a number that came as text, a word or a list alike, each row for
    itself. A float's text reads back as the same float.

    Args:
        name: Name of the answer in quarantine.
        records: Per row its values by column name; None for a row that has not that form.
        raw_rows: Per row what came.
    """
    wanted = ("timestamp", *VALUE_COLUMNS)
    usable = [position for position, record in enumerate(records) if record is not None]
    columns = {
        column: pa.array(
            [_text(record.get(column)) for record in records if record is not None],
            type=pa.string(),
        )
        for column in wanted
    }
    broken = tuple(
        QuarantinedRow(
            name, position + 1, None, f"the row is no candle: needed are {', '.join(wanted)}", _raw(raw_rows[position])
        )
        for position, record in enumerate(records)
        if record is None
    )
    return CandleRows(
        file=name,
        found_names=wanted,
        row_count=len(usable),
        columns=columns,
        line_of=lambda row: usable[row] + 1,
        raw_texts_of=lambda rows: [_raw(raw_rows[usable[row]]) for row in rows],
        broken=broken,
    )


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return storable_text(value if isinstance(value, str) else json.dumps(value))


def _raw(row: Any) -> str:
    return storable_text(json.dumps(row, ensure_ascii=False))
