"""Labels from trades."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.labels import LABEL_SCHEMA, PnlAbove, build_labels
from quantbot_pipeline.learning.past_trades import PastTrade

TEN_PERCENT = PnlAbove(name="win-10", strategy="basic", threshold=0.1)


def trade(call_id: int, signal: int, pnl: float | None, strategy: str = "basic") -> PastTrade:
    return PastTrade(call_id, 1, strategy, signal, signal + 100, pnl)


def test_label_is_one_when_the_pnl_is_above_the_threshold() -> None:
    labels = build_labels(TEN_PERCENT, [trade(1, 10, 0.2), trade(2, 20, 0.1), trade(3, 30, -0.5)])

    assert labels.schema == LABEL_SCHEMA
    assert labels.to_pylist() == [
        {"call_id": 1, "signal_timestamp": 10, "label": 1, "label_end": 110, "pnl": 0.2},
        {"call_id": 2, "signal_timestamp": 20, "label": 0, "label_end": 120, "pnl": 0.1},
        {"call_id": 3, "signal_timestamp": 30, "label": 0, "label_end": 130, "pnl": -0.5},
    ]


def test_other_strategies_and_trades_that_never_bought_give_no_label() -> None:
    trades = [trade(1, 10, 0.2, "other"), trade(1, 10, 0.3), trade(2, 20, None), trade(3, 30, float("nan"))]

    assert build_labels(TEN_PERCENT, trades).column("call_id").to_pylist() == [1]
    assert build_labels(TEN_PERCENT, []).num_rows == 0


def test_labels_are_ordered_by_time_and_call() -> None:
    labels = build_labels(TEN_PERCENT, [trade(3, 30, 0.0), trade(9, 10, 0.0), trade(4, 10, 0.0)])

    assert labels.column("call_id").to_pylist() == [4, 9, 3]


def test_two_trades_of_one_call_are_refused() -> None:
    with pytest.raises(LearningError, match="strategy 'basic' has 2 trades of call 7"):
        build_labels(TEN_PERCENT, [trade(5, 1, 0.1), trade(7, 1, 0.1), trade(7, 2, 0.1)])


def test_definition_goes_through_json_and_refuses_what_it_does_not_know() -> None:
    assert PnlAbove.model_validate_json(TEN_PERCENT.model_dump_json()) == TEN_PERCENT
    with pytest.raises(ValidationError):
        PnlAbove.model_validate({"name": "a", "strategy": "b", "kind": "triple_barrier"})
    with pytest.raises(ValidationError):
        PnlAbove(name="a", strategy="b", threshold=float("nan"))


def test_labels_are_read_from_a_table() -> None:
    table = pa.table(
        {
            "call_id": [1],
            "caller_id": [1],
            "strategy": ["basic"],
            "signal_timestamp": [10],
            "known_at": [20],
            "pnl": pa.array([0.5], pa.float32()),
        }
    )

    assert build_labels(TEN_PERCENT, table).column("label").to_pylist() == [1]
