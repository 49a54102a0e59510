"""Events: what each one tells, and their Arrow form."""

import json
import math

import pytest
from engine_cases import candles, strategy, trade

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.events_table import EVENT_SCHEMA, events_to_arrow
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.errors import SimulationError

SMA_BELOW = {"left": {"indicator": "sma", "params": {"period": 2}}, "op": "<", "right": 0}


def test_events_report_indicators_at_the_last_closed_candle() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 3, 3, 3, 3], [120, 5, 5, 5, 5])
    result = trade(market, at=60, exits={"when": SMA_BELOW, "trailing": {"activate_at": 0, "distance": 0.5}})
    label = "sma(period=2)"
    values = [event.indicators[label] for event in result.events]
    # Entry at the open of candle 1: SMA(2) at candle 0 is not known. Stop at its close: (1 + 3)/2.
    # Final exit at the close of candle 2: (3 + 5)/2.
    assert math.isnan(values[0])
    assert values[1:] == [2.0, 4.0]


def test_events_report_the_position_after_them() -> None:
    result = trade(candles([0, 2, 2, 2, 2], [60, 2, 2, 0.5, 2]), exits={"stop_loss": {"initial": 0.5}})
    assert result.events[0].position_state == {
        "quantity": 0.5,
        "average_entry": 2.0,
        "stop": 1.0,
        "peak": 2.0,
        "cycle": 1,
    }
    assert result.events[1].position_state["quantity"] == 0


def test_table_has_one_row_per_event_in_canonical_form() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2])
    trades = simulate_reference(market, [Call(7, 1, 0), Call(8, 1, 999)], strategy(exits={"when": SMA_BELOW}))
    table = events_to_arrow(trades)
    assert table.schema == EVENT_SCHEMA
    rows = table.to_pylist()
    assert [(row["call_id"], row["seq"], row["event_type"], row["event_time"]) for row in rows] == [
        (7, 0, "entry", 0),
        (7, 1, "final_exit", 120),
        (8, 0, "entry_skipped", 999),
    ]
    assert rows[0]["indicators_json"] == '{"sma(period=2)":null}'
    # No stop is null, not NaN.
    assert rows[0]["position_state_json"] == ('{"average_entry":1.0,"cycle":1,"peak":1.0,"quantity":1.0,"stop":null}')
    assert json.loads(rows[1]["metadata_json"]) == {"order": "market", "reason": "end_of_data"}
    assert math.isnan(rows[2]["price"])


def test_table_of_no_trades_is_empty_with_its_columns() -> None:
    assert events_to_arrow([]).num_rows == 0
    assert events_to_arrow([]).schema == EVENT_SCHEMA


def test_two_calls_with_one_id_are_refused() -> None:
    with pytest.raises(SimulationError, match="unique ids"):
        simulate_reference(candles([0, 1, 1, 1, 1]), [Call(1, 1, 0), Call(1, 1, 60)], strategy())
