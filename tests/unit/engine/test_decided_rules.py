"""The rules of docs/engine.md section 10 that no other test here works out by hand; on both engines, as all of them."""

import math
from typing import Any

import pytest
from engine_cases import candles, count, reasons, simulate, story, strategy, trade

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType, Trade

FLAT = [[t, 1, 1, 1, 1] for t in range(0, 600, 60)]
STOP_HALF = {"stop_loss": {"initial": 0.5}}


def ladder(*legs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "ladder", "legs": [{"id": f"leg-{k}", **leg} for k, leg in enumerate(legs)], **more}


def close_is(op: str, level: float) -> dict[str, Any]:
    return {"left": {"candle": "close"}, "op": op, "right": level}


def legs_of(result: Trade) -> list[str]:
    return [event.metadata["leg"] for event in result.events if "leg" in event.metadata]


# Calls and time


def test_hold_of_no_time_sells_at_the_next_open() -> None:
    result = trade(candles(*FLAT[:1], [60, 2, 2, 2, 2]), exits={"max_hold_seconds": 0})
    assert story(result) == [("entry", 0, 1.0), ("time_exit", 60, 2.0)]


def test_horizon_of_one_second_sells_at_the_next_open() -> None:
    result = trade(candles(*FLAT[:1], [60, 2, 2, 2, 2]), horizon_seconds=1)
    assert story(result) == [("entry", 0, 1.0), ("time_exit", 60, 2.0)]


def test_wait_of_no_time_is_the_first_candle() -> None:
    entry = {"type": "dip", "drop": 0.25, "max_wait_seconds": 0}
    assert story(trade(candles([0, 1, 1, 0.7, 1]), entry=entry))[0] == ("entry", 0, 0.75)
    late = trade(candles(*FLAT[:1], [60, 1, 1, 0.7, 1]), entry=entry)
    assert story(late) == [("entry_skipped", 60, 1.0)]


def test_calls_of_one_second_are_taken_by_their_ids() -> None:
    calls = [Call(9, 1, 0), Call(4, 2, 0)]
    trades = simulate(candles(*FLAT[:3]), calls, strategy(overlap="skip"))
    assert [(result.call_id, result.has_bought) for result in trades] == [(4, True), (9, False)]


def test_a_sell_of_type_entry_opens_no_trade() -> None:
    assert simulate(candles(*FLAT[:3]), [Call(1, 1, 0, SignalType.ENTRY, Side.SELL)], strategy()) == []


def test_latency_delays_scale_out_and_scale_in_calls_too() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2], [120, 3, 3, 3, 3], [180, 4, 4, 4, 4])
    document = {"overlap": "scale_in", "exits": {"on_exit_call": True}, "costs": {"latency_seconds": 60}}
    calls = (Call(2, 1, 60, SignalType.SCALE_OUT), Call(3, 1, 61, SignalType.SCALE_IN))
    # The entry acts at 0 + 60, the scale-out at 60 + 60, the scale-in at the first open from 121 on.
    result = trade(market, calls=calls, **document)
    assert story(result)[:3] == [("entry", 60, 2.0), ("signal_exit", 120, 3.0), ("scale_in", 180, 4.0)]


def test_an_exit_call_that_comes_while_nothing_is_held_is_over() -> None:
    market = candles(*FLAT[:2], [120, 1, 1, 0.5, 1], [180, 1, 1, 1, 1])
    result = trade(
        market,
        calls=(Call(2, 1, 60, SignalType.EXIT),),
        entry={"type": "dip", "drop": 0.5},
        exits={"on_exit_call": True},
    )
    assert story(result) == [("entry", 120, 0.5), ("final_exit", 240, 1.0)]


def test_scale_outs_do_nothing_where_everything_is_sold() -> None:
    calls = (Call(2, 1, 60, SignalType.SCALE_OUT), Call(3, 1, 60, SignalType.EXIT))
    result = trade(candles(*FLAT[:3]), calls=calls, exits={"on_exit_call": True})
    assert [(event.event_type.value, event.size) for event in result.events[1:]] == [("signal_exit", 1.0)]
    assert result.events[1].metadata["exit_call_id"] == 3


def test_a_scale_out_that_sells_the_last_ends_the_cycle_for_the_reason_signal() -> None:
    # High 2 in candle 0, so the re-entry rests at 1: the open of 120.
    result = trade(
        candles([0, 1, 2, 1, 2], [60, 2, 2, 2, 2], [120, 1, 1, 1, 1]),
        calls=(Call(2, 1, 60, SignalType.SCALE_OUT),),
        exits={"on_exit_call": True, "scale_out_size": 1},
        re_entry={"after": ["signal"], "retrace": 0.5, "size": 1},
    )
    assert story(result)[:3] == [("entry", 0, 1.0), ("signal_exit", 60, 2.0), ("re_entry", 120, 1.0)]


def test_a_scale_in_after_the_last_candle_is_told_at_its_own_time_without_a_price() -> None:
    trades = simulate(candles(*FLAT[:1]), [Call(2, 1, 61, SignalType.SCALE_IN)], strategy(overlap="scale_in"))
    (event,) = trades[0].events
    assert (event.event_time, event.metadata["reason"]) == (61, "nothing_to_scale")
    assert math.isnan(event.price)


def test_a_scale_in_has_no_staleness_limit() -> None:
    market = candles(*FLAT[:1], [6000, 2, 2, 2, 2])
    calls = (Call(2, 1, 1, SignalType.SCALE_IN),)
    result = trade(market, calls=calls, overlap="scale_in", max_staleness_seconds=60)
    assert story(result)[:2] == [("entry", 0, 1.0), ("scale_in", 6000, 2.0)]


# Being done


def test_a_trade_that_waits_for_a_re_entry_blocks_until_the_candle_after_the_wait() -> None:
    rows = [[0, 1, 1, 0.5, 1], *FLAT[1:]]
    re_entry = {"after": ["stop"], "retrace": 0.5, "size": 1, "max_wait_seconds": 120}
    calls = [Call(k, 1, 60 * k) for k in range(6)]
    trades = simulate(candles(*rows), calls, strategy(overlap="skip", exits=STOP_HALF, re_entry=re_entry))
    # Stopped in candle 0, waits in 60 and 120, is done at 180: the call at 240 is the first to trade.
    assert [result.has_bought for result in trades] == [True, False, False, False, True, False]


def test_calls_refused_for_want_of_candles_block_nothing() -> None:
    market = candles([600, 1, 1, 1, 1], [660, 1, 1, 1, 1])
    trades = simulate(market, [Call(1, 1, 0), Call(2, 1, 600)], strategy(overlap="skip", max_staleness_seconds=60))
    assert [reasons(result)[0] for result in trades] == ["no_candles", None]


def test_a_flat_trade_that_waits_for_a_re_entry_ends_without_an_event() -> None:
    result = trade(
        candles([0, 1, 1, 0.5, 1], *FLAT[1:3]),
        exits=STOP_HALF,
        re_entry={"after": ["stop"], "retrace": 0.9, "size": 1},
    )
    assert story(result) == [("entry", 0, 1.0), ("stop_loss", 0, 0.5)]
    assert result.done_at == 0


# Orders and fills


def test_limits_of_equal_price_and_signals_of_one_close_fill_in_the_order_of_the_legs() -> None:
    limits = ladder({"size": 0.25, "offset": -0.5}, {"size": 0.5, "offset": -0.25}, {"size": 0.25, "offset": -0.5})
    assert legs_of(trade(candles([0, 1, 1, 0.4, 1]), entry=limits)) == ["leg-1", "leg-0", "leg-2"]
    signals = ladder({"size": 0.5, "when": close_is(">", 0)}, {"size": 0.5, "when": close_is("<", 9)})
    assert legs_of(trade(candles(*FLAT[:2]), entry=signals)) == ["leg-0", "leg-1"]


def test_optimistic_candles_buy_below_the_stop_too_before_it_sells() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "offset": -0.75})
    market = candles(*FLAT[:1], [60, 1, 1, 0.2, 1])
    result = trade(market, entry=entry, exits=STOP_HALF, intrabar="optimistic")
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 60, 0.25), ("stop_loss", 60, 0.5)]
    # Quantities 0.5 and 2, all of it sold at 0.5.
    assert result.pnl == pytest.approx(0.25)


def test_buys_after_a_target_raise_what_later_targets_sell() -> None:
    market = candles([0, 1, 2, 1, 1], [60, 1, 1, 1, 1], [120, 1, 4, 1, 4])
    result = trade(
        market,
        calls=(Call(2, 1, 60, SignalType.SCALE_IN),),
        overlap="scale_in",
        scale_in_size=1,
        exits={"targets": [{"multiple": 2, "size": 0.5}, {"multiple": 3, "size": 0.5}]},
    )
    # Bought 1, sold 0.5 at 2, bought 1 more at 1: of 2 bought, 1.5 are open, and the next target sells 1 at 3.
    assert story(result)[1:4] == [("target_hit", 0, 2.0), ("scale_in", 60, 1.0), ("target_hit", 120, 3.0)]
    assert [event.remaining_position for event in result.events[1:4]] == pytest.approx([0.5, 0.75, 0.25])
    # 0.5·2 + 1·3 + 0.5·4 - 2
    assert result.pnl == pytest.approx(4.0)


@pytest.mark.parametrize("more", [{"horizon_seconds": 60}, {}])
def test_neither_the_horizon_nor_the_last_close_is_followed_by_a_re_entry(more: dict[str, Any]) -> None:
    every = ["target", "stop", "trailing", "signal", "time"]
    market = candles([0, 1, 2, 1, 1], *FLAT[1:3])
    result = trade(market, re_entry={"after": every, "retrace": 0.5, "size": 1}, **more)
    assert count(result, EventType.RE_ENTRY) == 0
    assert len(result.events) == 2


def test_slippage_of_a_buy_is_taken_on_its_cash_fees_included() -> None:
    market = candles([0, 1, 1, 1, 1, 100], [60, 1, 1, 1, 1, 100])
    slippage = {"type": "volume_share", "base": 0, "impact": 1, "cap": 0.9, "capital_quote": 10}
    result = trade(market, at=60, costs={"fee": 0.25, "slippage": slippage})
    # 10 of 100, whatever of it the fee takes: 1.1. The sell is of 1/(1.1·1.25) tokens at 1: 0.0727 of the volume.
    assert [event.price for event in result.events] == pytest.approx([1.1, 1 - 0.1 / 1.375])


def test_stop_in_force_when_trailing_arms_stays_though_the_average_fell() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "offset": -0.25})
    exits = {"stop_loss": {"initial": 0.5}, "trailing": {"activate_at": 0, "distance": 0.75}}
    market = candles([0, 1, 1, 0.75, 0.8], [60, 0.8, 0.8, 0.45, 0.5])
    # The average falls to 6/7, whose base stop would be 0.4286; but 0.5 was in force as trailing (0.25) armed.
    result = trade(market, entry=entry, exits=exits)
    assert story(result) == [("entry", 0, 1.0), ("ladder_entry", 0, 0.75), ("stop_loss", 60, 0.5)]
    assert reasons(result)[-1] == "initial"


@pytest.mark.parametrize(
    ("exits", "kind"),
    [
        # Level and base stop are both 0.5.
        ({**STOP_HALF, "break_even": {"gain": 0, "offset": -0.5}}, "break_even"),
        # Peak 2, so both levels are 1.
        ({"break_even": {"gain": 0.5}, "trailing": {"activate_at": 0.5, "distance": 0.5}}, "trailing"),
    ],
)
def test_a_level_that_equals_the_stop_in_force_takes_it_over(exits: dict[str, Any], kind: str) -> None:
    result = trade(candles([0, 1, 2, 1, 1.5], [60, 1.5, 1.5, 0.4, 1]), exits=exits)
    assert reasons(result)[-1] == kind
    assert (result.events[-1].event_type is EventType.TRAILING_STOP) is (kind == "trailing")


def test_each_stop_moved_tells_the_stop_at_its_own_step() -> None:
    exits = {"trailing": {"activate_at": 0, "distance": 0.5}, "break_even": {"gain": 1, "offset": 0}}
    market = candles([0, 1, 1, 1, 1], [60, 1, 3, 1, 3], [120, 3, 3, 3, 3])
    # Trailing arms at 0.5. At 120 break-even raises it to 1 and says so; trailing then raises it to 1.5 silently.
    result = trade(market, exits=exits)
    assert story(result)[1:3] == [("stop_moved", 60, 0.5), ("stop_moved", 120, 1.0)]
    assert result.events[-1].position_state["stop"] == 1.5


def test_buys_at_one_price_leave_exactly_that_average_and_a_gain_of_nothing_arms_at_once() -> None:
    # 0.1 + 0.2 and the like do not add up in floats; all are bought at 0.7.
    market = candles(*[[60 * k, 0.7, 0.7, 0.7, 0.7] for k in range(3)])
    entry = ladder(*({"size": size, "offset": 0} for size in (0.1, 0.2, 0.3)))
    result = trade(market, entry=entry, exits={"break_even": {"gain": 0, "offset": -0.5}}, costs={"fee": 0.003})
    assert [event.position_state["average_entry"] for event in result.events] == [0.7] * len(result.events)
    assert story(result)[3] == ("stop_moved", 60, 0.35)


# Signals


def market_of_closes(*closes: float) -> Candles:
    return candles(*[[60 * k, c, c, c, c] for k, c in enumerate(closes)])


def test_a_crossing_with_a_nan_before_it_is_false_and_so_is_its_negation() -> None:
    sma = {"indicator": "sma", "params": {"period": 2}}
    crossing = {"left": {"candle": "close"}, "op": "crosses_above", "right": sma}
    market = market_of_closes(2, 1, 2, 2, 2)
    # SMA: NaN 1.5 1.5 2 2. At candle 1 the SMA before is NaN: neither crossing nor its negation.
    # At 2 it goes from 1 <= 1.5 to 2 > 1.5; at 3 it does not.
    assert story(trade(market, entry={"type": "signal", "when": crossing}))[0] == ("entry", 180, 2.0)
    assert story(trade(market, entry={"type": "signal", "when": {"not": crossing}}))[0] == ("entry", 240, 2.0)


def test_a_group_with_a_nan_inside_is_not_negated_though_another_member_decides_it() -> None:
    unknown = {"left": {"indicator": "sma", "params": {"period": 3}}, "op": ">", "right": 0}
    never = close_is("<", 0)
    # All of them is false from the start, but its negation waits for the SMA, known from candle 2 on.
    entry = {"type": "signal", "when": {"not": {"all": [unknown, never]}}}
    assert story(trade(market_of_closes(1, 1, 1, 1, 1), entry=entry))[0] == ("entry", 180, 1.0)


def test_candles_before_the_first_count_as_not_true_for_persistence() -> None:
    entry = {"type": "signal", "when": {**close_is(">", 0), "lookback": 3, "min_true": 2}}
    # At the close of candle 1 two of the last three were true, the third does not exist.
    assert story(trade(market_of_closes(1, 1, 1, 1), entry=entry))[0] == ("entry", 120, 1.0)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_rsi_of_a_token_priced_at_next_to_nothing_acts_the_same(scale: float) -> None:
    rsi = {"left": {"indicator": "rsi", "params": {"period": 2}}, "op": ">", "right": 60}
    market = market_of_closes(*(scale * close for close in (4, 3, 2, 4, 4)))
    # Changes -1 -1 +2: after two falls RSI 0; then gains (0 + 2)/2 against losses (1 + 0)/2: 100·2/3.
    result = trade(market, entry={"type": "signal", "when": rsi})
    assert [(event.event_type.value, event.event_time) for event in result.events] == [
        ("entry", 240),
        ("final_exit", 300),
    ]
