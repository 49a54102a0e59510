"""Labels from trades, and documents that define labels."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.learning.labels import (
    LABEL_SCHEMA,
    Pnl,
    PnlAbove,
    build_labels,
    load_label_definition,
    parse_label_definition,
    task_of,
)
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


def test_pnl_itself_can_be_the_label() -> None:
    labels = build_labels(Pnl(name="pnl", strategy="basic"), [trade(1, 10, 0.2), trade(2, 20, -0.5)])

    assert labels.column("label").to_pylist() == labels.column("pnl").to_pylist() == [0.2, -0.5]


@pytest.mark.parametrize(
    ("document", "task"),
    [
        ({"kind": "pnl_above", "name": "a", "strategy": "b", "threshold": 0.1}, "classification"),
        ({"kind": "pnl", "name": "a", "strategy": "b"}, "regression"),
        ({"kind": "time_to_target", "name": "a", "target": 0.5, "horizon_seconds": 60}, "regression"),
        (
            {"kind": "triple_barrier", "name": "a", "upper": 0.5, "lower": 0.2, "horizon_seconds": 60},
            "classification",
        ),
    ],
)
def test_every_kind_goes_through_json_and_has_its_task(document: dict[str, Any], task: str, tmp_path: Path) -> None:
    path = tmp_path / "label.json"
    path.write_text(json.dumps(document), encoding="utf-8")

    definition = load_label_definition(path)

    assert task_of(definition) == task
    assert parse_label_definition(definition.model_dump(mode="json")) == definition


@pytest.mark.parametrize(
    ("document", "parts"),
    [
        ({"name": "a"}, ["kind", "triple_barrier"]),
        ({"kind": "oracle", "name": "a"}, ["'oracle'", "time_to_target"]),
        ({"kind": "pnl", "name": "a"}, ["strategy", "field required"]),
        ({"kind": "pnl", "name": "a", "strategy": "b", "threshold": 1}, ["threshold", "not permitted"]),
        ({"kind": "pnl_above", "name": "a", "strategy": "b", "threshold": "much"}, ["threshold", "'much'"]),
        (
            {"kind": "triple_barrier", "name": "a", "upper": 0.5, "lower": 1.0, "horizon_seconds": 60},
            ["lower", "less than 1", "found 1.0"],
        ),
        ({"kind": "time_to_target", "name": "a", "target": 0.5, "horizon_seconds": 0}, ["horizon_seconds", "found 0"]),
    ],
)
def test_definition_that_is_wrong_is_refused_by_field(document: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        parse_label_definition(document)
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize(("text", "part"), [("{", "line 1"), ("[1]", "found a list"), (None, "there is no such file")])
def test_file_that_holds_no_definition_is_refused(text: str | None, part: str, tmp_path: Path) -> None:
    path = tmp_path / "label.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=part):
        load_label_definition(path)
