"""The worked examples of docs/engine.md, to the last event, on both engines (`trade` runs each)."""

import pytest
from engine_cases import candles, reasons, story, trade

TARGET_X2 = {"targets": [{"multiple": 2.0, "size": 1.0}], "stop_loss": {"initial": 0.3}}


def test_target_and_stop_in_one_candle_is_a_stop_when_pessimistic() -> None:
    result = trade(candles([0, 1, 1, 1, 1], [60, 1, 2.5, 0.5, 2]), exits=TARGET_X2)
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 60, 0.7)]
    assert result.pnl == pytest.approx(-0.3)


def test_target_and_stop_in_one_candle_is_a_target_when_optimistic() -> None:
    result = trade(candles([0, 1, 1, 1, 1], [60, 1, 2.5, 0.5, 2]), exits=TARGET_X2, intrabar="optimistic")
    assert story(result) == [("entry", 0, 1.0), ("target_hit", 60, 2.0)]
    assert result.pnl == pytest.approx(1.0)


def test_gap_through_the_stop_fills_at_the_open() -> None:
    result = trade(candles([0, 1, 1, 1, 1], [60, 0.5, 0.6, 0.4, 0.5]), exits={"stop_loss": {"initial": 0.3}})
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 60, 0.5)]
    assert result.events[1].metadata["gap"] is True
    assert result.pnl == pytest.approx(-0.5)


def test_targets_with_break_even_after_the_first() -> None:
    result = trade(
        candles([0, 1, 1, 1, 1], [60, 1, 2.1, 1, 2], [120, 2, 3.5, 1.9, 3], [180, 3, 3, 0.9, 1]),
        exits={
            "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 3.0, "size": 0.3}],
            "break_even": {"after_target": 1, "offset": 0.0},
            "stop_loss": {"initial": 0.5},
        },
    )
    assert story(result) == [
        ("entry", 0, 1.0),
        ("target_hit", 60, 2.0),
        ("stop_moved", 120, 1.0),
        ("target_hit", 120, 3.0),
        ("stop_loss", 180, 1.0),
    ]
    assert [event.size for event in result.events] == pytest.approx([1.0, 0.5, 0.0, 0.3, 0.2])
    assert reasons(result)[-1] == "break_even"
    # 0.5·2 + 0.3·3 + 0.2·1 - 1
    assert result.pnl == pytest.approx(1.1)
    # Realised after each: 0, 0.5·(2 - 1), the same, + 0.3·(3 - 1), + 0.2·0.
    assert [event.pnl_so_far for event in result.events] == pytest.approx([0, 0.5, 0.5, 1.1, 1.1])
    assert [event.remaining_position for event in result.events] == pytest.approx([1, 0.5, 0.5, 0.2, 0])


def test_trailing_sees_only_closed_candles() -> None:
    result = trade(
        candles([0, 1, 1, 1, 1], [60, 1, 2, 1, 2], [120, 2, 3, 1.7, 2.9], [180, 2.9, 2.9, 2, 2]),
        exits={"trailing": {"activate_at": 0.5, "distance": 0.2}},
    )
    assert story(result) == [("entry", 0, 1.0), ("stop_moved", 120, 1.6), ("trailing_stop", 180, 2.4)]
    assert result.pnl == pytest.approx(1.4)


def test_rebound_buys_at_the_open_above_its_trigger() -> None:
    result = trade(
        candles([0, 1, 1, 0.8, 0.9], [60, 0.9, 0.95, 0.85, 0.9]),
        entry={"type": "rebound", "rebound": 0.1},
    )
    assert story(result)[0] == ("entry", 60, 0.9)


def test_fees_are_paid_on_both_sides() -> None:
    result = trade(candles([0, 1, 1, 1, 1]), costs={"fee": 0.01})
    assert story(result) == [("entry", 0, 1.0), ("final_exit", 60, 1.0)]
    # Quantity 1/1.01, proceeds 0.99/1.01.
    assert result.pnl == pytest.approx(-0.01980198019801982, rel=1e-12)
    assert result.events[-1].pnl_so_far == pytest.approx(result.pnl)
    assert result.mark_value.tolist() == pytest.approx([result.pnl])
