"""Finished trades of earlier simulations, as learning reads them: the caller's record, and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.errors import LearningError


@dataclass(frozen=True, slots=True)
class PastTrade:
    """One simulated trade that came to its end, not to that of the data.

    Attributes:
        call_id: The call that it came of.
        caller_id: Who made the call.
        strategy: Name of the strategy that traded.
        signal_timestamp: When the call was made, seconds since the epoch, UTC.
        known_at: When its result was known, seconds: the end of the candle of its last event. An event inside a candle
            bears the candle's open time, but nobody knew of it before.
        pnl: Net result on capital 1; None for a trade that never bought.
    """

    call_id: int
    caller_id: int
    strategy: str
    signal_timestamp: int
    known_at: int
    pnl: float | None


PAST_TRADE_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("caller_id", pa.int64(), nullable=False),
        pa.field("strategy", pa.string(), nullable=False),
        pa.field("signal_timestamp", pa.int64(), nullable=False),
        pa.field("known_at", pa.int64(), nullable=False),
        pa.field("pnl", pa.float64()),
    ]
)
"""Arrow form of `PastTrade`. Tables may hold more columns, and timestamps instead of seconds."""


def past_trade_table(trades: pa.Table | Sequence[PastTrade]) -> pa.Table:
    """Return trades as a table of `PAST_TRADE_SCHEMA`.

    Raises:
        LearningError: a table lacks a column, a value that must be there is null, or a type does not fit.
    """
    if not isinstance(trades, pa.Table):
        return pa.table(
            {name: [getattr(trade, name) for trade in trades] for name in PAST_TRADE_SCHEMA.names},
            schema=PAST_TRADE_SCHEMA,
        )
    if missing := [name for name in PAST_TRADE_SCHEMA.names if name not in trades.column_names]:
        raise LearningError(
            f"the table of past trades lacks {', '.join(missing)}; found {', '.join(trades.column_names)}"
        )
    columns = []
    for field in PAST_TRADE_SCHEMA:
        column = trades.column(field.name)
        try:
            if pa.types.is_timestamp(column.type):
                column = pc.cast(pc.cast(column, pa.timestamp("s", column.type.tz)), pa.int64())
            column = pc.cast(column, field.type)
        except pa.ArrowInvalid as e:
            raise LearningError(f"column {field.name!r} of past trades is not {field.type}: {e}") from e
        if not field.nullable and column.null_count:
            raise LearningError(
                f"column {field.name!r} of past trades holds {column.null_count} nulls; allowed is none"
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=PAST_TRADE_SCHEMA)


def integer_column(table: pa.Table, name: str) -> IntArray:
    """Return a column without nulls as int64."""
    return np.asarray(table.column(name).to_numpy(), dtype=np.int64)


def float_column(table: pa.Table, name: str) -> FloatArray:
    """Return a column as float64, NaN where it is null."""
    return np.asarray(pc.fill_null(pc.cast(table.column(name), pa.float64()), np.nan).to_numpy(), dtype=np.float64)
