"""Exits: targets, stops, break-even, trailing, signals, time, calls (docs/engine.md)."""

import pytest
from engine_cases import candles, count, reasons, simulate, story, strategy, trade

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.events import EventType

FLAT = [[t, 1, 1, 1, 1] for t in range(0, 600, 60)]
STOP_HALF = {"stop_loss": {"initial": 0.5}}


def targets(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"multiple": multiple, "size": size} for multiple, size in pairs]


def falling_signal(level: float) -> dict[str, object]:
    return {"left": {"candle": "close"}, "op": "<", "right": level}


def test_target_fills_at_its_price_without_slippage() -> None:
    costs = {"slippage": {"type": "fixed", "fraction": 0.25}}
    result = trade(candles([0, 1, 4, 1, 1]), exits={"targets": targets((2, 1))}, costs=costs)
    # Bought at 1.25, so the target is 2.5; it counts in the candle of a market entry.
    assert story(result) == [("entry", 0, 1.25), ("target_hit", 0, 2.5)]


def test_targets_that_the_open_jumped_over_fill_at_the_open() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 4, 6, 4, 5])
    result = trade(market, exits={"targets": targets((2, 0.25), (3, 0.25), (5, 0.5))})
    assert story(result)[1:] == [("target_hit", 60, 4.0), ("target_hit", 60, 4.0), ("target_hit", 60, 5.0)]
    assert [event.metadata.get("gap", False) for event in result.events[1:]] == [True, True, False]


def test_what_the_targets_leave_rides_to_the_end() -> None:
    result = trade(candles([0, 1, 2, 1, 2], [60, 2, 2, 2, 2]), exits={"targets": targets((2, 0.25))})
    assert story(result)[-1] == ("final_exit", 120, 2.0)
    assert result.events[-1].size == pytest.approx(0.75)


def test_targets_that_sell_everything_leave_no_dust() -> None:
    # Ten times 0.1 leaves 1.4e-16 in floats, which is nothing: the cycle is over, and reported so.
    tenths = targets(*((1.1 + k / 10, 0.1) for k in range(10)))
    result = trade(candles([0, 1, 3, 1, 3], [60, 3, 3, 3, 3]), exits={"targets": tenths})
    assert count(result, EventType.TARGET_HIT) == 10
    assert result.events[-1].remaining_position == 0
    assert count(result, EventType.FINAL_EXIT) == 0


def test_targets_of_a_cycle_that_began_inside_count_from_the_next_candle_on() -> None:
    market = candles([0, 1, 3, 0.5, 1], [60, 1, 1, 1, 1])
    result = trade(market, entry={"type": "dip", "drop": 0.5}, exits={"targets": targets((2, 1))})
    assert story(result) == [("entry", 0, 0.5), ("target_hit", 60, 1.0)]


def test_targets_follow_the_average_from_the_next_candle_on() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.5}]
    market = candles([0, 1, 1.4, 0.5, 1], [60, 1, 1.4, 1, 1])
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits={"targets": targets((1.5, 1))})
    # Candle 0: target 1.5 of the first fill. Average 1 / (0.5 + 1) = 2/3, so from candle 1 on it is 1: at the open.
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 0, 0.5), ("target_hit", 60, 1.0)]


def test_target_sells_a_share_of_what_the_cycle_bought_at_most_what_is_open() -> None:
    result = trade(
        candles(*FLAT[:1], [60, 1, 1, 1, 1], [120, 1, 4, 1, 1]),
        calls=(Call(2, 1, 60, SignalType.SCALE_OUT),),
        exits={"targets": targets((2, 0.3), (3, 0.7)), "on_exit_call": True, "scale_out_size": 0.5},
    )
    assert [event.size for event in result.events[1:]] == pytest.approx([0.5, 0.3, 0.2])


def test_stop_fills_inside_at_its_price_less_slippage() -> None:
    costs = {"slippage": {"type": "fixed", "fraction": 0.5}}
    result = trade(candles([0, 1, 1, 1, 1], [60, 1, 1, 0.1, 1]), exits=STOP_HALF, costs=costs)
    # Bought at 1.5, stop 0.75, sold at 0.375.
    assert story(result) == [("entry", 0, 1.5), ("stop_loss", 60, 0.375)]
    assert reasons(result)[-1] == "initial"


def test_stop_touched_in_the_entry_candle_sells_there() -> None:
    assert story(trade(candles([0, 1, 1, 0.5, 1]), exits=STOP_HALF)) == [
        ("entry", 0, 1.0),
        ("stop_loss", 0, 0.5),
    ]


def test_stop_that_slippage_lifts_above_the_open_is_no_gap() -> None:
    costs = {"slippage": {"type": "fixed", "fraction": 0.25}}
    result = trade(candles([0, 1, 1, 1, 1]), exits={"stop_loss": {"initial": 0.1}}, costs=costs)
    # Bought at 1.25, so the stop is 1.125, above the whole candle: sold at it, less slippage, below the open.
    assert story(result) == [("entry", 0, 1.25), ("stop_loss", 0, 0.84375)]
    assert "gap" not in result.events[1].metadata


def test_stop_of_a_dip_that_filled_inside_sells_in_the_same_candle_when_pessimistic() -> None:
    market = candles([0, 1, 1, 0.2, 1], [60, 1, 1, 1, 1])
    entry = {"type": "dip", "drop": 0.5}
    assert story(trade(market, entry=entry, exits=STOP_HALF))[-1] == ("stop_loss", 0, 0.25)
    hopeful = trade(market, entry=entry, exits=STOP_HALF, intrabar="optimistic")
    assert story(hopeful)[-1] == ("final_exit", 120, 1.0)


def test_stop_falls_with_the_average_after_a_further_leg() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.25}]
    market = candles([0, 1, 1, 0.75, 0.8], [60, 0.8, 0.8, 0.6, 0.7], [120, 0.7, 0.7, 0.55, 0.6])
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits={"stop_loss": {"initial": 0.3}})
    # Average 1 / (0.5 + 2/3) = 6/7; stop 0.7·6/7 = 0.6, touched at 60 (the first fill's 0.7 is no more).
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 0, 0.75), ("stop_loss", 60, 0.6)]


def test_legs_above_the_stop_fill_before_it_and_legs_below_are_cancelled() -> None:
    legs = [
        {"id": "a", "size": 0.5, "offset": 0.0},
        {"id": "b", "size": 0.25, "offset": -0.25},
        {"id": "c", "size": 0.25, "offset": -0.75},
    ]
    market = candles([0, 1, 1, 1, 1], [60, 1, 3, 0.2, 1], [120, 1, 1, 0.2, 1])
    exits = {**STOP_HALF, "targets": targets((2, 1))}
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits=exits)
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 60, 0.75), ("stop_loss", 60, 0.5)]
    # Optimistic: the target first; it sells all, which cancels the legs.
    hopeful = trade(market, entry={"type": "ladder", "legs": legs}, exits=exits, intrabar="optimistic")
    assert story(hopeful) == [("entry", 0, 1.0), ("target_hit", 60, 2.0)]


def test_leg_at_exactly_the_stop_is_not_bought() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.5}]
    market = candles([0, 1, 1, 1, 1], [60, 1, 1, 0.5, 1])
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits=STOP_HALF)
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 60, 0.5)]


def test_optimistic_sells_targets_then_buys_then_stops_what_remains() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.25}]
    market = candles([0, 1, 1, 1, 1], [60, 1, 3, 0.2, 1])
    exits = {**STOP_HALF, "targets": targets((2, 0.5))}
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits=exits, intrabar="optimistic")
    assert story(result) == [
        ("entry", 0, 1.0),
        ("target_hit", 60, 2.0),
        ("ladder_entry", 60, 0.75),
        ("stop_loss", 60, 0.5),
    ]


def test_leg_bought_at_an_open_below_the_stop_is_sold_at_that_open() -> None:
    legs = [
        {"id": "a", "size": 0.5, "offset": 0.0},
        {"id": "b", "size": 0.5, "when": falling_signal(0.9)},
    ]
    market = candles([0, 1, 1, 0.8, 0.8], [60, 0.4, 0.5, 0.4, 0.5])
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits=STOP_HALF)
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 60, 0.4), ("stop_loss", 60, 0.4)]


def test_break_even_by_gain_arms_at_the_close_and_acts_from_the_next_candle() -> None:
    exits = {**STOP_HALF, "break_even": {"gain": 0.5, "offset": 0.125}}
    market = candles([0, 1, 1.5, 1, 1.4], [60, 1.4, 1.4, 1.1, 1.2])
    result = trade(market, exits=exits)
    # The low of candle 0 is 1 < 1.125, but the stop only moves at its close.
    assert story(result) == [("entry", 0, 1.0), ("stop_moved", 60, 1.125), ("stop_loss", 60, 1.125)]
    assert reasons(result)[-1] == "break_even"


def test_arming_that_does_not_raise_the_stop_writes_nothing() -> None:
    exits = {**STOP_HALF, "break_even": {"gain": 0.5, "offset": -0.9}}
    result = trade(candles([0, 1, 2, 1, 1], [60, 1, 1, 0.4, 1]), exits=exits)
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 60, 0.5)]
    assert reasons(result)[-1] == "initial"


def test_break_even_and_trailing_armed_at_one_close_write_in_this_order() -> None:
    exits = {"break_even": {"gain": 1.0}, "trailing": {"activate_at": 1.0, "distance": 0.25}}
    result = trade(candles([0, 1, 2, 1, 2], [60, 2, 2, 1, 1]), exits=exits)
    assert story(result) == [
        ("entry", 0, 1.0),
        ("stop_moved", 60, 1.0),
        ("stop_moved", 60, 1.5),
        ("trailing_stop", 60, 1.5),
    ]
    assert reasons(result)[1:3] == ["break_even", "trailing"]


def test_trailing_stop_rises_silently_and_never_falls() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 2, 4, 1.9, 3], [120, 3.3, 3.5, 3.2, 3.4], [180, 3.4, 3.4, 2.5, 3])
    result = trade(market, exits={"trailing": {"activate_at": 1, "distance": 0.25}})
    # 1.5 from candle 1 on, 3 from candle 2 on: 180 touches it. One event for the arming only.
    assert story(result) == [("entry", 0, 1.0), ("stop_moved", 60, 1.5), ("trailing_stop", 180, 3.0)]


def test_high_of_the_candle_inside_which_the_cycle_began_does_not_count_for_the_peak() -> None:
    market = candles([0, 1, 5, 0.5, 1], [60, 1, 1, 1, 1], [120, 1, 1, 0.6, 1])
    exits = {"trailing": {"activate_at": 0.0, "distance": 0.25}}
    result = trade(market, entry={"type": "dip", "drop": 0.5}, exits=exits)
    # Peak 0.5 at the first close: stop 0.375; then high 1: 0.75, touched at 120.
    assert story(result) == [("entry", 0, 0.5), ("stop_moved", 60, 0.375), ("trailing_stop", 120, 0.75)]


def test_break_even_stop_above_the_trailing_level_is_a_stop_loss() -> None:
    exits = {"break_even": {"gain": 0.5}, "trailing": {"activate_at": 0.5, "distance": 0.5}}
    result = trade(candles([0, 1, 1.6, 1, 1.5], [60, 1.5, 1.5, 0.9, 1]), exits=exits)
    # Break-even 1.0 is above 0.8, so the trailing stop raises nothing.
    assert story(result) == [("entry", 0, 1.0), ("stop_moved", 60, 1.0), ("stop_loss", 60, 1.0)]
    assert reasons(result)[-1] == "break_even"


def test_armed_stop_does_not_fall_when_the_average_does() -> None:
    legs = [{"id": "a", "size": 0.5, "offset": 0.0}, {"id": "b", "size": 0.5, "offset": -0.25}]
    exits = {"break_even": {"gain": 0.5, "offset": -0.5}}
    market = candles([0, 1, 1.5, 1, 1], [60, 1, 1, 0.7, 0.7], [120, 0.7, 0.7, 0.45, 0.6])
    result = trade(market, entry={"type": "ladder", "legs": legs}, exits=exits)
    assert story(result)[-2:] == [("ladder_entry", 60, 0.75), ("stop_loss", 120, 0.5)]


def test_exit_signal_sells_at_the_next_open() -> None:
    market = candles([0, 1, 1, 0.5, 0.5], [60, 0.75, 0.75, 0.75, 0.75])
    result = trade(market, exits={"when": falling_signal(0.9)})
    assert story(result) == [("entry", 0, 1.0), ("signal_exit", 60, 0.75)]
    assert reasons(result)[-1] == "signal"


def test_exit_signal_of_a_close_before_the_position_does_not_sell() -> None:
    market = candles([0, 0.5, 0.5, 0.5, 0.5], [60, 1, 1, 1, 1], [120, 1, 1, 1, 1])
    result = trade(market, at=60, exits={"when": falling_signal(0.9)})
    assert story(result)[-1] == ("final_exit", 180, 1.0)


def test_max_hold_counts_from_the_cycle_s_first_buy() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 1, 0.5, 1], [120, 1, 1, 1, 1], [180, 2, 2, 2, 2])
    result = trade(market, entry={"type": "dip", "drop": 0.5}, exits={"max_hold_seconds": 100})
    # Bought in the candle at 60; 180 is the first open at or after 160.
    assert story(result) == [("entry", 60, 0.5), ("time_exit", 180, 2.0)]
    assert reasons(result)[-1] == "max_hold"
    assert result.holding_seconds == 120


def test_horizon_sells_at_the_first_open_at_or_after_it() -> None:
    market = candles(*FLAT[:2], [180, 2, 2, 2, 2], [240, 3, 3, 3, 3])
    result = trade(market, horizon_seconds=120)
    assert story(result) == [("entry", 0, 1.0), ("time_exit", 180, 2.0)]
    assert reasons(result)[-1] == "horizon"


def test_first_selling_reason_wins_at_one_open() -> None:
    market = candles([0, 1, 1, 0.5, 0.5], [60, 1, 1, 1, 1])
    exit_call = (Call(2, 1, 60, SignalType.EXIT),)
    exits = {"when": falling_signal(0.9), "on_exit_call": True, "max_hold_seconds": 60}
    assert reasons(trade(market, calls=exit_call, exits=exits, horizon_seconds=60))[-1] == "horizon"
    assert reasons(trade(market, calls=exit_call, exits=exits))[-1] == "max_hold"
    exits = {**exits, "max_hold_seconds": None}
    assert reasons(trade(market, calls=exit_call, exits=exits))[-1] == "exit_call"
    assert reasons(trade(market, exits=exits))[-1] == "signal"


def test_a_sale_at_the_open_comes_before_the_stop_that_the_open_jumped_over() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 0.2, 0.2, 0.2, 0.2])
    assert story(trade(market, exits=STOP_HALF, horizon_seconds=60))[-1] == ("time_exit", 60, 0.2)


def test_last_close_sells_what_is_open_after_moving_the_stop() -> None:
    result = trade(candles([0, 1, 2, 1, 2]), exits={"trailing": {"activate_at": 0, "distance": 0.5}})
    # Level 2·0.5 = 1 moves in at the close, t 60; then everything is sold at that close.
    assert story(result) == [("entry", 0, 1.0), ("stop_moved", 60, 1.0), ("final_exit", 60, 2.0)]


def test_exit_call_acts_at_the_first_open_at_or_after_it_plus_latency() -> None:
    market = candles(*[[t, 1 + t / 60, 99, 1, 1] for t in range(0, 300, 60)])
    exits = {"on_exit_call": True}
    at_61 = (Call(2, 1, 61, SignalType.EXIT),)
    assert story(trade(market, calls=at_61, exits=exits))[-1] == ("signal_exit", 120, 3.0)
    late = trade(market, calls=at_61, exits=exits, costs={"latency_seconds": 60})
    # The entry is at 60 with this latency; 61 + 60 = 121 acts at 180.
    assert story(late) == [("entry", 60, 2.0), ("signal_exit", 180, 4.0)]


@pytest.mark.parametrize(
    ("call", "sells"),
    [
        (Call(2, 1, 60, SignalType.EXIT, Side.BUY), True),
        (Call(2, 1, 60, SignalType.ENTRY, Side.SELL), True),
        (Call(2, 1, 60, SignalType.SCALE_IN, Side.SELL), True),
        (Call(2, 2, 60, SignalType.EXIT), False),
        (Call(2, 1, 0, SignalType.EXIT), False),
    ],
)
def test_exit_calls_sell_what_the_same_caller_holds(call: Call, sells: bool) -> None:
    result = trade(candles(*FLAT[:3]), calls=(call,), exits={"on_exit_call": True})
    assert (count(result, EventType.SIGNAL_EXIT) == 1) is sells


def test_exit_calls_do_nothing_unless_asked_for() -> None:
    result = trade(candles(*FLAT[:3]), calls=(Call(2, 1, 60, SignalType.EXIT),))
    assert story(result)[-1] == ("final_exit", 180, 1.0)


def test_exit_call_leaves_a_waiting_entry_alone() -> None:
    market = candles(*FLAT[:2], [120, 1, 1, 0.5, 1])
    call = (Call(2, 1, 60, SignalType.EXIT),)
    result = trade(market, calls=call, entry={"type": "dip", "drop": 0.5}, exits={"on_exit_call": True})
    assert story(result)[0] == ("entry", 120, 0.5)


def test_exit_calls_make_no_trade_of_their_own() -> None:
    calls = [Call(1, 1, 0), Call(2, 1, 60, SignalType.EXIT), Call(3, 1, 60, SignalType.SCALE_OUT)]
    assert len(simulate(candles(*FLAT), calls, strategy())) == 1


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_scale_out_calls_sell_a_share_of_what_was_bought_each(side: Side) -> None:
    calls = tuple(Call(k, 1, t, SignalType.SCALE_OUT, side) for k, t in ((2, 60), (3, 70), (4, 80)))
    result = trade(candles(*FLAT[:4]), calls=calls, exits={"on_exit_call": True, "scale_out_size": 0.4})
    assert [(event.event_type.value, event.event_time) for event in result.events[1:]] == [
        ("signal_exit", 60),
        ("signal_exit", 120),
        ("signal_exit", 120),
    ]
    assert [event.size for event in result.events[1:]] == pytest.approx([0.4, 0.4, 0.2])


def test_scale_in_call_buys_more_while_the_caller_s_trade_is_open() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2], [120, 2, 2, 2, 2])
    calls = [
        Call(1, 1, 0),
        Call(2, 1, 1, SignalType.SCALE_IN),
        Call(3, 2, 1, SignalType.SCALE_IN),
        Call(4, 1, 500, SignalType.SCALE_IN),
    ]
    trades = simulate(market, calls, strategy(overlap="scale_in", scale_in_size=0.5))
    assert [result.call_id for result in trades] == [1, 3, 4]
    assert story(trades[0])[:2] == [("entry", 0, 1.0), ("scale_in", 60, 2.0)]
    # 1 + 0.25 units for 1.5 in all, worth 2.5.
    assert trades[0].events[1].position_state["average_entry"] == pytest.approx(1.2)
    assert trades[0].events[1].remaining_position == 1
    assert trades[0].pnl == pytest.approx(1.0)
    # Another caller's call finds nothing, nor does one after the data.
    assert [reasons(result) for result in trades[1:]] == [["nothing_to_scale"], ["nothing_to_scale"]]
    assert story(trades[1]) == [("entry_skipped", 60, 2.0)]
    assert trades[2].events[0].event_time == 500


def test_scale_in_at_an_open_that_sells_finds_nothing() -> None:
    market = candles([0, 1, 1, 0.5, 0.5], [60, 1, 1, 1, 1])
    calls = [Call(1, 1, 0), Call(2, 1, 60, SignalType.SCALE_IN)]
    trades = simulate(market, calls, strategy(overlap="scale_in", exits={"when": falling_signal(0.9)}))
    assert [reasons(result)[-1] for result in trades] == ["signal", "nothing_to_scale"]


def test_scale_in_at_the_entry_s_own_open_fills_after_it() -> None:
    calls = [Call(1, 1, 0), Call(2, 1, 0, SignalType.SCALE_IN)]
    trades = simulate(candles(*FLAT[:2]), calls, strategy(overlap="scale_in"))
    assert [event.event_type.value for event in trades[0].events] == ["entry", "scale_in", "final_exit"]


@pytest.mark.parametrize("overlap", ["independent", "skip"])
def test_scale_in_calls_are_ignored_by_strategies_that_do_not_scale(overlap: str) -> None:
    calls = [Call(1, 1, 0), Call(2, 1, 60, SignalType.SCALE_IN)]
    trades = simulate(candles(*FLAT[:3]), calls, strategy(overlap=overlap))
    assert len(trades) == 1
    assert count(trades[0], EventType.SCALE_IN) == 0


def test_volume_share_slippage_looks_at_the_candle_before_the_fill() -> None:
    market = candles([0, 2, 2, 2, 2, 50], [60, 2, 2, 2, 2, 0], [120, 2, 2, 2, 2, 1])
    costs = {"slippage": {"type": "volume_share", "base": 0.01, "impact": 0.5, "cap": 0.2, "capital_quote": 10}}
    result = trade(market, at=60, costs=costs)
    # Buy: 10 of 100 quote volume: 0.01 + 0.5·0.1 = 0.06, so 2.12. Final sell: the candle before traded 0: cap 0.2.
    assert [event.price for event in result.events] == pytest.approx([2.12, 1.6])


def test_volume_share_slippage_is_the_cap_without_a_candle_before() -> None:
    slippage = {"type": "volume_share", "base": 0, "impact": 0.5, "cap": 0.25, "capital_quote": 10}
    result = trade(candles([0, 2, 2, 2, 2]), costs={"slippage": slippage})
    assert [event.price for event in result.events] == pytest.approx([2.5, 1.5])


def test_volume_share_of_a_sell_is_its_quantity_at_the_raw_price() -> None:
    market = candles([0, 1, 1, 1, 1, 100], [60, 1, 1, 1, 1, 100], [120, 4, 4, 4, 4, 100], [180, 4, 4, 4, 4])
    slippage = {"type": "volume_share", "base": 0, "impact": 1, "cap": 0.9, "capital_quote": 10}
    result = trade(market, at=60, costs={"slippage": slippage}, horizon_seconds=60)
    # Buy: 10 / 100: 10 %, at 1.1, quantity 1/1.1. Sell at 4: 10·4/1.1 / 100 = 0.363636: at 4·(1 - 0.363636).
    assert [event.price for event in result.events] == pytest.approx([1.1, 4 * (1 - 0.4 / 1.1)])
