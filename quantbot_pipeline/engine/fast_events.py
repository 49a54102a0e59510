"""Event rows of the kernels as `Event` objects, and as the Arrow table of `events_table`.

Rows are numbers only; texts (types, reasons, legs) and the three JSON columns are made here, and are the same
as those of the reference engine's events.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.arrow_columns import coded_text_column, number_column, text_column
from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.events import Event, EventType
from quantbot_pipeline.engine.events_table import EVENT_SCHEMA
from quantbot_pipeline.engine.kernels import layout as kernels

_TYPES: tuple[EventType, ...] = (
    EventType.ENTRY,
    EventType.LADDER_ENTRY,
    EventType.SCALE_IN,
    EventType.RE_ENTRY,
    EventType.TARGET_HIT,
    EventType.STOP_LOSS,
    EventType.TRAILING_STOP,
    EventType.SIGNAL_EXIT,
    EventType.TIME_EXIT,
    EventType.FINAL_EXIT,
    EventType.STOP_MOVED,
    EventType.ENTRY_SKIPPED,
)
_ORDERS = ("", "market", "limit", "stop_buy", "stop")
_STOPS = ("", "initial", "break_even", "trailing")
_REASONS = (
    "",
    "horizon",
    "max_hold",
    "exit_call",
    "signal",
    "end_of_data",
    "scale_in_call",
    "timeout",
    "break_even",
    "trailing",
    "no_candles",
    "overlap",
    "nothing_to_scale",
)


@dataclass(frozen=True, slots=True)
class EventRows:
    """Events as the kernels write them.

    Attributes:
        amounts: Columns `EVENT_…` of the kernels, float64, shape (n, EVENT_AMOUNTS).
        marks: The same, whole numbers, shape (n, EVENT_MARKS).
        trade: Position of each event's trade among the selected ones; empty before a selection.
        seq: Position of each event within its trade; empty before a selection.
    """

    amounts: FloatArray
    marks: IntArray
    trade: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    seq: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def select(self, first: IntArray, count: IntArray) -> "EventRows":
        """Return the events of trades, trade by trade.

        Args:
            first: Row of each trade's first event, shape (n_trades,).
            count: How many events each trade has.
        """
        trade = np.repeat(np.arange(len(first)), count)
        seq = np.arange(len(trade)) - np.repeat(np.cumsum(count) - count, count)
        rows = first[trade] + seq
        return EventRows(self.amounts[rows], self.marks[rows], trade, seq)


def _metadata(codes: Sequence[int], leg_ids: Sequence[str], causing_call: int) -> dict[str, Any]:
    """Return an event's metadata from its row of whole numbers, keys in the reference engine's order."""
    metadata: dict[str, Any] = {}
    if codes[kernels.EVENT_ORDER]:
        metadata["order"] = _ORDERS[codes[kernels.EVENT_ORDER]]
    if codes[kernels.EVENT_LEG] >= 0:
        metadata["leg"] = leg_ids[codes[kernels.EVENT_LEG]]
    if codes[kernels.EVENT_TARGET]:
        metadata["target"] = codes[kernels.EVENT_TARGET]
    if codes[kernels.EVENT_STOP_KIND]:
        metadata["stop"] = _STOPS[codes[kernels.EVENT_STOP_KIND]]
    if codes[kernels.EVENT_GAP]:
        metadata["gap"] = True
    if codes[kernels.EVENT_REASON]:
        metadata["reason"] = _REASONS[codes[kernels.EVENT_REASON]]
    if codes[kernels.EVENT_CALL] >= 0:
        is_scale_in = codes[kernels.EVENT_TYPE] == kernels.SCALE_IN
        metadata["scale_in_call_id" if is_scale_in else "exit_call_id"] = causing_call
    return metadata


def events_of_rows(
    rows: EventRows,
    call_ids: Sequence[int],
    causing_calls: Sequence[int],
    indicators: Mapping[str, FloatArray],
    leg_ids: Sequence[str],
) -> list[tuple[Event, ...]]:
    """Return the events of each selected trade.

    Args:
        rows: Selected rows.
        call_ids: Call of each trade.
        causing_calls: For each row the id of the call that caused it, or -1.
        indicators: By label, the value for each row.
        leg_ids: Names of the ladder's legs.
    """
    events: list[list[Event]] = [[] for _ in call_ids]
    labels = list(indicators)
    values = (
        list(zip(*(indicators[label].tolist() for label in labels), strict=True)) if labels else [()] * len(rows.marks)
    )
    for trade, seq, amounts, codes, causing_call, known in zip(
        rows.trade.tolist(),
        rows.seq.tolist(),
        rows.amounts.tolist(),
        rows.marks.tolist(),
        causing_calls,
        values,
        strict=True,
    ):
        state: dict[str, float] = {}
        if codes[kernels.EVENT_CYCLE]:
            stop = amounts[kernels.EVENT_STOP]
            state = {
                "quantity": amounts[kernels.EVENT_QUANTITY],
                "average_entry": amounts[kernels.EVENT_AVERAGE],
                "stop": stop if stop > kernels.NO_STOP else math.nan,
                "peak": amounts[kernels.EVENT_PEAK],
                "cycle": codes[kernels.EVENT_CYCLE],
            }
        has_candle = codes[kernels.EVENT_CLOSE] != kernels.NO_CANDLE
        events[trade].append(
            Event(
                call_id=call_ids[trade],
                seq=seq,
                event_time=codes[kernels.EVENT_TIME],
                event_type=_TYPES[codes[kernels.EVENT_TYPE]],
                price=amounts[kernels.EVENT_PRICE],
                size=amounts[kernels.EVENT_SIZE],
                remaining_position=amounts[kernels.EVENT_REMAINING],
                pnl_so_far=amounts[kernels.EVENT_PNL],
                indicators=dict(zip(labels, known, strict=True)) if has_candle else {},
                position_state=state,
                metadata=_metadata(codes, leg_ids, causing_call),
            )
        )
    return [tuple(of_trade) for of_trade in events]


def _numbers(values: FloatArray) -> list[str]:
    """Return floats as JSON: the shortest text that reads back the same, `null` where JSON has no number."""
    texts = [repr(value) for value in values.tolist()]
    for k in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[k] = "null"
    return texts


def _objects(columns: Mapping[str, Sequence[str]], is_empty: Any) -> list[str]:
    """Return JSON objects with sorted keys from columns of JSON values; `{}` where `is_empty`."""
    if not columns:
        return ["{}"] * len(is_empty)
    keys = sorted(columns)
    template = "{{" + ",".join(f"{_escaped(key)}:{{}}" for key in keys) + "}}"
    texts = list(map(template.format, *(columns[key] for key in keys)))
    for k in np.flatnonzero(is_empty).tolist():
        texts[k] = "{}"
    return texts


def _escaped(key: str) -> str:
    return json.dumps(key).replace("{", "{{").replace("}", "}}")


def _metadata_texts(rows: EventRows, causing_calls: Sequence[int], leg_ids: Sequence[str]) -> list[str]:
    """Return the metadata of all rows as JSON; rows repeat few of them."""
    of_metadata = rows.marks[:, kernels.EVENT_ORDER : kernels.EVENT_CALL + 1]
    keys = zip(rows.marks[:, kernels.EVENT_TYPE].tolist(), *of_metadata.T.tolist(), strict=True)
    known: dict[tuple[int, ...], str] = {}
    texts = []
    for k, key in enumerate(keys):
        text = known.get(key)
        if text is None:
            metadata = _metadata(rows.marks[k].tolist(), leg_ids, causing_calls[k])
            text = known[key] = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
        texts.append(text)
    return texts


def table_of_rows(
    rows: EventRows,
    call_ids: IntArray,
    causing_calls: Sequence[int],
    indicators: Mapping[str, FloatArray],
    leg_ids: Sequence[str],
) -> pa.Table:
    """Return the events of all selected trades as a table of `EVENT_SCHEMA`.

    Args:
        rows: Selected rows.
        call_ids: Call of each trade, int64, shape (n_trades,).
        causing_calls: For each row the id of the call that caused it, or -1.
        indicators: By label, the value for each row.
        leg_ids: Names of the ladder's legs.
    """
    amounts, marks = rows.amounts, rows.marks
    state = {
        "average_entry": _numbers(amounts[:, kernels.EVENT_AVERAGE]),
        "cycle": [str(cycle) for cycle in marks[:, kernels.EVENT_CYCLE].tolist()],
        "peak": _numbers(amounts[:, kernels.EVENT_PEAK]),
        "quantity": _numbers(amounts[:, kernels.EVENT_QUANTITY]),
        "stop": _numbers(amounts[:, kernels.EVENT_STOP]),
    }
    columns = {
        "call_id": number_column(call_ids[rows.trade]),
        "seq": number_column(rows.seq.astype(np.int32)),
        "event_time": number_column(marks[:, kernels.EVENT_TIME]),
        "event_type": coded_text_column(marks[:, kernels.EVENT_TYPE], [kind.value for kind in _TYPES]),
        "price": number_column(amounts[:, kernels.EVENT_PRICE]),
        "size": number_column(amounts[:, kernels.EVENT_SIZE]),
        "remaining_position": number_column(amounts[:, kernels.EVENT_REMAINING]),
        "pnl_so_far": number_column(amounts[:, kernels.EVENT_PNL]),
        "indicators_json": text_column(
            _objects(
                {label: _numbers(values) for label, values in indicators.items()},
                marks[:, kernels.EVENT_CLOSE] == kernels.NO_CANDLE,
            )
        ),
        "position_state_json": text_column(_objects(state, marks[:, kernels.EVENT_CYCLE] == 0)),
        "metadata_json": text_column(_metadata_texts(rows, causing_calls, leg_ids)),
    }
    return pa.table(columns, schema=EVENT_SCHEMA)
