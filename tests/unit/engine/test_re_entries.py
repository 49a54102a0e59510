"""Re-entries: after which ends, from when on, at what price, how often (docs/engine.md)."""

from typing import Any

import pytest
from engine_cases import candles, count, story, trade

from quantbot_pipeline.engine.calls import Call, SignalType
from quantbot_pipeline.engine.events import EventType


def re_entry(*after: str, **more: Any) -> dict[str, Any]:
    return {"after": list(after), "retrace": 0.5, "size": 0.5, **more}


UP_THEN_DOWN = candles(
    [0, 1, 1, 1, 1],
    [60, 1, 2, 1, 2],
    [120, 2, 2, 0.5, 1],
    [180, 1, 1.5, 1, 1.5],
)


def test_re_entry_rests_below_the_highest_high_from_the_next_candle_on() -> None:
    result = trade(UP_THEN_DOWN, exits={"targets": [{"multiple": 2, "size": 1}]}, re_entry=re_entry("target"))
    # The target at 60; the limit is 2·0.5 = 1 from 120 on.
    assert story(result)[:3] == [("entry", 0, 1.0), ("target_hit", 60, 2.0), ("re_entry", 120, 1.0)]
    assert result.events[2].size == 0.5
    assert result.events[2].remaining_position == 1
    # It has targets of its own, at 2, which are not touched: 0.5 sold at 1.5.
    assert story(result)[3] == ("final_exit", 240, 1.5)
    assert result.pnl == pytest.approx(2 + 0.75 - 1.5)
    assert result.cash_spent == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("reason", "exits", "last_of_cycle"),
    [
        ("target", {"targets": [{"multiple": 2, "size": 1}]}, "target_hit"),
        ("stop", {"stop_loss": {"initial": 0.1}}, "stop_loss"),
        ("stop", {"break_even": {"gain": 0.5, "offset": 0.2}}, "stop_loss"),
        ("trailing", {"trailing": {"activate_at": 0.5, "distance": 0.1}}, "trailing_stop"),
        ("signal", {"when": {"left": {"candle": "close"}, "op": "<=", "right": 1}}, "signal_exit"),
        ("signal", {"on_exit_call": True}, "signal_exit"),
        ("time", {"max_hold_seconds": 120}, "time_exit"),
    ],
)
def test_each_reason_allows_a_re_entry_only_where_named(reason: str, exits: dict[str, Any], last_of_cycle: str) -> None:
    market = candles(
        [0, 1, 1, 1, 1],
        [60, 1, 2, 1, 2],
        [120, 2, 2, 0.8, 0.8],
        [180, 0.9, 0.9, 0.4, 0.8],
        [240, 0.8, 0.8, 0.4, 0.8],
    )
    call = (Call(2, 1, 120, SignalType.EXIT),)
    others = {"target", "stop", "trailing", "signal", "time"} - {reason}
    with_it = trade(market, calls=call, exits=exits, re_entry=re_entry(reason, max_count=1))
    without = trade(market, calls=call, exits=exits, re_entry=re_entry(*sorted(others)))
    assert count(with_it, EventType.RE_ENTRY) == 1
    assert count(without, EventType.RE_ENTRY) == 0
    before = [event.event_type.value for event in with_it.events]
    assert before[before.index("re_entry") - 1] == last_of_cycle


def test_no_re_entry_in_the_candle_in_which_the_cycle_ended() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 2, 2, 0.5, 0.5])
    exits = {"stop_loss": {"initial": 0.25}}
    result = trade(market, exits=exits, re_entry=re_entry("stop"))
    # The stop at 0.75 in candle 1; the limit 1 was touched in it too, but rests only afterwards.
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 60, 0.75)]


def test_re_entry_fills_at_a_better_open() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 0.8, 0.8, 0.8, 0.8])
    result = trade(market, exits={"targets": [{"multiple": 2, "size": 1}]}, re_entry=re_entry("target"))
    assert story(result)[2] == ("re_entry", 60, 0.8)


def test_re_entries_stop_at_their_number() -> None:
    rows = [[60 * k, 1, 2, 0.9, 1] for k in range(8)]
    exits = {"targets": [{"multiple": 2, "size": 1}]}
    result = trade(candles(*rows), exits=exits, re_entry=re_entry("target", max_count=2))
    # Each re-entry is bought at the open (the limit is 1), and sold at 2 in the same candle.
    assert [event.event_type.value for event in result.events] == [
        *("entry", "target_hit"),
        *("re_entry", "target_hit"),
        *("re_entry", "target_hit"),
    ]
    assert [event.event_time for event in result.events] == [0, 0, 60, 60, 120, 120]


def test_re_entry_waits_no_longer_than_asked() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 2, 2, 2, 2], [120, 2, 2, 2, 2], [180, 2, 2, 0.5, 1])
    exits = {"targets": [{"multiple": 2, "size": 1}]}
    late = trade(market, exits=exits, re_entry=re_entry("target", max_wait_seconds=179))
    assert count(late, EventType.RE_ENTRY) == 0
    in_time = trade(market, exits=exits, re_entry=re_entry("target", max_wait_seconds=180))
    assert story(in_time)[2] == ("re_entry", 180, 1.0)


def test_high_of_the_candle_inside_which_the_first_cycle_began_does_not_count() -> None:
    market = candles([0, 1, 9, 0.2, 1], [60, 1, 1, 0.4, 1], [120, 1, 1, 0.4, 1])
    result = trade(
        market,
        entry={"type": "dip", "drop": 0.5},
        exits={"stop_loss": {"initial": 0.5}},
        re_entry=re_entry("stop"),
    )
    # Bought at 0.5 and stopped at 0.25 inside candle 0. No closed high yet at 60, so no order; at 120 it is 1·0.5.
    assert story(result)[:3] == [("entry", 0, 0.5), ("stop_loss", 0, 0.25), ("re_entry", 120, 0.5)]


def test_nothing_is_bought_at_or_after_the_horizon() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 0.5, 1, 0.5, 1])
    result = trade(
        market,
        exits={"targets": [{"multiple": 2, "size": 1}]},
        re_entry=re_entry("target"),
        horizon_seconds=60,
    )
    assert story(result)[-1] == ("target_hit", 0, 2.0)


def test_a_cycle_has_its_own_peak_break_even_and_hold() -> None:
    market = candles(
        [0, 1, 2, 1, 2],
        [60, 2, 2, 0.9, 1],
        [120, 1, 1.5, 1, 1.2],
        [180, 1.2, 1.2, 0.95, 1],
    )
    exits = {"break_even": {"gain": 0.5}, "targets": [{"multiple": 2, "size": 0.5}]}
    result = trade(market, exits=exits, re_entry=re_entry("stop"))
    # Cycle 1: half at 2 (t 0), break-even at 1 stops the rest (t 60). Limit 1 is filled at the open of 120.
    # Cycle 2: its own peak 1.5 arms its own break-even, which stops it at 180.
    assert story(result) == [
        ("entry", 0, 1.0),
        ("target_hit", 0, 2.0),
        ("stop_moved", 60, 1.0),
        ("stop_loss", 60, 1.0),
        ("re_entry", 120, 1.0),
        ("stop_moved", 180, 1.0),
        ("stop_loss", 180, 1.0),
    ]
    assert [event.position_state["cycle"] for event in result.events] == [1, 1, 1, 1, 2, 2, 2]
    # 60 s from 0 to 60, 60 s from 120 to 180.
    assert result.holding_seconds == 120


def test_ladder_is_not_used_again() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.5}]
    market = candles([0, 1, 2, 1, 2], [60, 2, 2, 0.4, 1], [120, 1, 1, 0.4, 1])
    result = trade(
        market,
        entry={"type": "ladder", "legs": legs},
        exits={"targets": [{"multiple": 2, "size": 1}]},
        re_entry=re_entry("target"),
    )
    assert [event.event_type.value for event in result.events] == [
        "entry",
        "target_hit",
        "re_entry",
        "final_exit",
    ]
