"""Events as an Arrow table, in the columns of `simulation_events` that one trade knows."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from quantbot_pipeline.engine.events import Trade

EVENT_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("seq", pa.int32(), nullable=False),
        pa.field("event_time", pa.int64(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("size", pa.float64(), nullable=False),
        pa.field("remaining_position", pa.float64(), nullable=False),
        pa.field("pnl_so_far", pa.float64(), nullable=False),
        pa.field("indicators_json", pa.string(), nullable=False),
        pa.field("position_state_json", pa.string(), nullable=False),
        pa.field("metadata_json", pa.string(), nullable=False),
    ]
)
"""Columns of `events_to_arrow`; `event_time` is seconds since the epoch, UTC, `price` may be NaN."""


def _canonical_json(values: Mapping[str, Any]) -> str:
    """Return sorted, compact JSON; NaN and infinities, which JSON lacks, become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
    return json.dumps(finite, sort_keys=True, separators=(",", ":"), allow_nan=False)


def events_to_arrow(trades: Iterable[Trade]) -> pa.Table:
    """Return the events of trades as one table, in the order of the trades and of `seq`.

    Args:
        trades: As a simulation returned them.

    Returns:
        Table of `EVENT_SCHEMA`; the three JSON columns are canonical (sorted keys, no spaces, NaN is null).
    """
    events = [event for trade in trades for event in trade.events]
    return pa.table(
        {
            "call_id": [event.call_id for event in events],
            "seq": [event.seq for event in events],
            "event_time": [event.event_time for event in events],
            "event_type": [event.event_type.value for event in events],
            "price": [event.price for event in events],
            "size": [event.size for event in events],
            "remaining_position": [event.remaining_position for event in events],
            "pnl_so_far": [event.pnl_so_far for event in events],
            "indicators_json": [_canonical_json(event.indicators) for event in events],
            "position_state_json": [_canonical_json(event.position_state) for event in events],
            "metadata_json": [_canonical_json(event.metadata) for event in events],
        },
        schema=EVENT_SCHEMA,
    )
