"""Entries: when and at what price each kind buys, waits, times out and skips (docs/engine.md)."""

import math

import pytest
from engine_cases import candles, reasons, simulate, story, strategy, trade

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType

FLAT = [[t, 1, 1, 1, 1] for t in range(0, 600, 60)]


def rising_signal(level: float) -> dict[str, object]:
    """A signal: the close is above a level."""
    return {"left": {"candle": "close"}, "op": ">", "right": level}


def test_first_candle_opens_at_or_after_the_call_plus_latency() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 2, 2, 2, 2], [120, 3, 3, 3, 3])
    assert story(trade(market, at=60))[0] == ("entry", 60, 2.0)
    assert story(trade(market, at=61))[0] == ("entry", 120, 3.0)
    # 30 + 31 s of latency is after the open at 60.
    assert story(trade(market, at=30, costs={"latency_seconds": 31}))[0] == ("entry", 120, 3.0)
    assert story(trade(market, at=30, costs={"latency_seconds": 30}))[0] == ("entry", 60, 2.0)


def test_call_after_the_last_candle_is_skipped_at_its_own_time() -> None:
    result = trade(candles([0, 1, 1, 1, 1]), at=1)
    assert [(event.event_type, event.event_time) for event in result.events] == [(EventType.ENTRY_SKIPPED, 1)]
    assert math.isnan(result.events[0].price)
    assert reasons(result) == ["no_candles"]
    assert not result.has_bought
    assert result.pnl == 0


def test_call_whose_first_candle_comes_too_late_is_skipped() -> None:
    market = candles([0, 1, 1, 1, 1], [600, 1, 1, 1, 1])
    # The candle at 600 is 500 s after the call at 100: allowed at a staleness of 500, not at 499.
    assert reasons(trade(market, at=100, max_staleness_seconds=499)) == ["no_candles"]
    assert story(trade(market, at=100, max_staleness_seconds=500))[0] == ("entry", 600, 1.0)


def test_no_candles_at_all_skips_every_call() -> None:
    assert reasons(trade(Candles.empty(60))) == ["no_candles"]


def test_market_buy_pays_slippage_and_fee() -> None:
    result = trade(candles([0, 2, 2, 2, 2]), costs={"fee": 0.25, "slippage": {"type": "fixed", "fraction": 0.5}})
    # Buys at 2·1.5 = 3: quantity 1 / (3·1.25) = 4/15; sells at 2·0.5 = 1 for 4/15·0.75 = 0.2.
    assert story(result) == [("entry", 0, 3.0), ("final_exit", 60, 1.0)]
    assert result.events[0].position_state["quantity"] == pytest.approx(4 / 15)
    assert result.pnl == pytest.approx(-0.8)


def test_dip_fills_at_its_limit_inside_the_first_candle() -> None:
    result = trade(candles([0, 1, 1, 0.7, 0.9]), entry={"type": "dip", "drop": 0.25})
    assert story(result)[0] == ("entry", 0, 0.75)


def test_dip_is_touched_exactly_at_the_low() -> None:
    assert story(trade(candles([0, 1, 1, 0.75, 1]), entry={"type": "dip", "drop": 0.25}))[0][2] == 0.75


def test_dip_pays_no_slippage() -> None:
    slippage = {"slippage": {"type": "fixed", "fraction": 0.1}}
    result = trade(candles([0, 1, 1, 0.7, 1]), entry={"type": "dip", "drop": 0.25}, costs=slippage)
    # The limit at 0.75 as it is; the final market sell at 1·0.9.
    assert story(result) == [("entry", 0, 0.75), ("final_exit", 60, 0.9)]


def test_dip_fills_at_a_better_open() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 0.5, 0.6, 0.5, 0.6])
    result = trade(market, entry={"type": "dip", "drop": 0.25})
    assert story(result)[0] == ("entry", 60, 0.5)
    assert result.events[0].metadata["gap"] is True


def test_dip_rests_while_candles_open_within_the_wait() -> None:
    entry = {"type": "dip", "drop": 0.25, "max_wait_seconds": 120}
    touched_in_time = candles([0, 1, 1, 1, 1], [60, 1, 1, 1, 1], [120, 1, 1, 0.5, 1], [180, 1, 1, 1, 1])
    assert story(trade(touched_in_time, entry=entry))[0] == ("entry", 120, 0.75)
    touched_late = candles([0, 1, 1, 1, 1], [60, 1, 1, 1, 1], [120, 1, 1, 1, 1], [180, 0.5, 1, 0.5, 1])
    result = trade(touched_late, entry=entry)
    assert story(result) == [("entry_skipped", 180, 1.0)]
    assert reasons(result) == ["timeout"]


def test_dip_buys_at_market_after_the_wait_when_asked_to() -> None:
    entry = {"type": "dip", "drop": 0.25, "max_wait_seconds": 60, "on_timeout": "market"}
    result = trade(candles(*FLAT[:2], [120, 2, 2, 2, 2]), entry=entry)
    assert story(result)[0] == ("entry", 120, 2.0)
    assert reasons(result)[0] == "timeout"


def test_entry_still_waiting_at_the_last_close_is_skipped() -> None:
    result = trade(candles(*FLAT[:2]), entry={"type": "dip", "drop": 0.25})
    assert story(result) == [("entry_skipped", 120, 1.0)]
    assert reasons(result) == ["end_of_data"]


def test_entry_still_waiting_at_the_horizon_is_skipped_there() -> None:
    result = trade(
        candles(*FLAT),
        entry={"type": "dip", "drop": 0.25, "on_timeout": "market", "max_wait_seconds": 3600},
        horizon_seconds=120,
    )
    assert story(result) == [("entry_skipped", 120, 1.0)]
    assert reasons(result) == ["horizon"]


def test_time_out_at_the_horizon_candle_buys_nothing() -> None:
    entry = {"type": "dip", "drop": 0.25, "max_wait_seconds": 60, "on_timeout": "market"}
    result = trade(candles(*FLAT), entry=entry, horizon_seconds=120)
    assert reasons(result) == ["horizon"]


def test_rebound_inside_the_first_candle_is_measured_from_the_reference_price() -> None:
    result = trade(candles([0, 1, 1.2, 0.5, 1]), entry={"type": "rebound", "rebound": 0.125})
    # The low of candle 0 itself does not count for its own trigger.
    assert story(result)[0] == ("entry", 0, 1.125)


def test_rebound_follows_the_lowest_low_of_closed_candles() -> None:
    market = candles([0, 1, 1, 0.8, 0.8], [60, 0.8, 0.8, 0.4, 0.5], [120, 0.48, 0.6, 0.45, 0.6])
    result = trade(market, entry={"type": "rebound", "rebound": 0.25})
    # Candle 1: trigger 0.8·1.25 = 1, not touched. Candle 2: 0.4·1.25 = 0.5, inside.
    assert story(result)[0] == ("entry", 120, 0.5)


def test_stop_buy_pays_slippage_on_its_trigger() -> None:
    costs = {"slippage": {"type": "fixed", "fraction": 0.1}}
    result = trade(candles([0, 1, 1.5, 1, 1]), entry={"type": "rebound", "rebound": 0.25}, costs=costs)
    assert result.events[0].price == pytest.approx(1.375)


def test_signal_buys_at_the_open_after_the_close_where_it_held() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 2, 1, 2], [120, 3, 3, 3, 3])
    result = trade(market, entry={"type": "signal", "when": rising_signal(1.5)})
    assert story(result)[0] == ("entry", 120, 3.0)


def test_signal_before_the_first_candle_does_not_count() -> None:
    market = candles([0, 1, 2, 1, 2], [60, 1, 1, 1, 1], [120, 1, 1, 1, 1])
    result = trade(market, at=60, entry={"type": "signal", "when": rising_signal(1.5)})
    assert reasons(result) == ["end_of_data"]


def test_signal_at_the_last_close_within_the_wait_still_buys() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 2, 1, 2], [120, 3, 3, 3, 3])
    entry = {"type": "signal", "when": rising_signal(1.5), "max_wait_seconds": 60}
    assert story(trade(market, entry=entry))[0] == ("entry", 120, 3.0)
    late = trade(market, entry={**entry, "max_wait_seconds": 59})
    # The close of the candle at 60 no longer counts; the wait is over at that candle.
    assert story(late) == [("entry_skipped", 60, 1.0)]
    assert reasons(late) == ["timeout"]


def test_signal_at_the_very_last_close_finds_no_open() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 2, 1, 2])
    result = trade(market, entry={"type": "signal", "when": rising_signal(1.5)})
    assert story(result) == [("entry_skipped", 120, 1.0)]


def ladder(*legs: dict[str, object], **more: object) -> dict[str, object]:
    return {"type": "ladder", "legs": [{"id": f"leg-{k}", **leg} for k, leg in enumerate(legs)], **more}


def test_ladder_fills_its_legs_on_the_way_down() -> None:
    entry = ladder({"size": 0.5, "offset": 0.0}, {"size": 0.25, "offset": -0.5}, {"size": 0.25, "offset": -0.25})
    result = trade(candles([0, 1, 1, 0.4, 1], [60, 1, 1, 1, 1]), entry=entry)
    # Inside, in descending price, whatever the order of the legs.
    assert story(result)[:3] == [("entry", 0, 1.0), ("ladder_entry", 0, 0.75), ("ladder_entry", 0, 0.5)]
    assert [event.metadata["leg"] for event in result.events[:3]] == ["leg-0", "leg-2", "leg-1"]
    # Quantities 0.5/1, 0.25/0.75, 0.25/0.5 cost 1 together.
    quantity = 0.5 + 1 / 3 + 0.5
    assert result.events[2].position_state["average_entry"] == pytest.approx(1 / quantity)
    assert result.pnl == pytest.approx(quantity - 1)


def test_first_leg_that_fills_is_the_entry() -> None:
    entry = ladder({"size": 0.5, "offset": -0.5}, {"size": 0.5, "offset": -0.25})
    result = trade(candles([0, 1, 1, 0.7, 1], [60, 1, 1, 0.5, 1]), entry=entry)
    assert story(result)[:2] == [("entry", 0, 0.75), ("ladder_entry", 60, 0.5)]


def test_ladder_whose_cycle_begins_inside_buys_only_above_its_stop() -> None:
    entry = ladder({"size": 0.5, "offset": -0.25}, {"size": 0.25, "offset": -0.5}, {"size": 0.25, "offset": -0.4})
    exits = {"stop_loss": {"initial": 0.25}}
    # First fill 0.75, stop 0.5625: the leg at 0.6 is above it, the one at 0.5 is not; then the stop sells all.
    result = trade(candles([0, 1, 1, 0.4, 1], [60, 1, 1, 1, 1]), entry=entry, exits=exits)
    assert story(result) == [("entry", 0, 0.75), ("ladder_entry", 0, 0.6), ("stop_loss", 0, 0.5625)]
    # Optimistic: the same buys, no stop in this candle.
    hopeful = trade(candles([0, 1, 1, 0.4, 1], [60, 1, 1, 1, 1]), entry=entry, exits=exits, intrabar="optimistic")
    assert story(hopeful) == [("entry", 0, 0.75), ("ladder_entry", 0, 0.6), ("final_exit", 120, 1.0)]


def test_leg_with_a_condition_buys_at_the_open_after_it_held() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "when": rising_signal(1.5)})
    market = candles([0, 1, 2, 1, 2], [60, 3, 3, 3, 3])
    assert story(trade(market, entry=entry))[:2] == [("entry", 0, 1.0), ("ladder_entry", 60, 3.0)]


def test_sequential_leg_rests_from_the_candle_after_the_one_before_filled() -> None:
    entry = ladder(
        {"size": 0.5, "offset": -0.25}, {"size": 0.25, "offset": 0}, {"size": 0.25, "offset": -0.5}, sequential=True
    )
    market = candles([0, 1, 1, 0.4, 0.9], [60, 1.1, 1.1, 0.3, 1.1], [120, 1, 1, 0.6, 1], [180, 0.5, 1, 0.5, 1])
    # 0: leg 0 at 0.75. 60: leg 1 is now a limit at the reference price 1 and fills inside; leg 2 not yet.
    # 120: low 0.6 does not touch 0.5. 180: the open does.
    assert story(trade(market, entry=entry))[:3] == [
        ("entry", 0, 0.75),
        ("ladder_entry", 60, 1.0),
        ("ladder_entry", 180, 0.5),
    ]


def test_sequential_leg_does_not_fill_in_the_candle_of_the_leg_before() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "offset": -0.25}, sequential=True)
    market = candles([0, 1, 1, 0.5, 1], [60, 1, 1, 0.75, 1])
    assert story(trade(market, entry=entry))[:2] == [("entry", 0, 1.0), ("ladder_entry", 60, 0.75)]


def test_sequential_leg_with_a_condition_is_asked_from_the_next_candle_on() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "when": rising_signal(0.5)}, sequential=True)
    result = trade(candles(*FLAT[:4]), entry=entry)
    # Leg 0 fills in candle 0, so leg 1 is armed in candle 1, held at its close, and bought at the open of 2.
    assert story(result)[:2] == [("entry", 0, 1.0), ("ladder_entry", 120, 1.0)]


def test_legs_are_cancelled_when_the_wait_is_over_or_the_cycle_ends() -> None:
    entry = ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "offset": -0.5}, max_wait_seconds=60)
    late = trade(candles(*FLAT[:2], [120, 1, 1, 0.4, 1]), entry=entry)
    assert story(late) == [("entry", 0, 1.0), ("final_exit", 180, 1.0)]
    stopped = trade(
        candles([0, 1, 1, 1, 1], [60, 1, 1, 0.7, 0.7], [120, 0.6, 0.6, 0.3, 0.5]),
        entry=ladder({"size": 0.5, "offset": 0}, {"size": 0.5, "offset": -0.5}),
        exits={"stop_loss": {"initial": 0.25}},
    )
    assert story(stopped) == [("entry", 0, 1.0), ("stop_loss", 60, 0.75)]


def test_ladder_without_any_fill_times_out() -> None:
    result = trade(candles(*FLAT), entry=ladder({"size": 1, "offset": -0.5}, max_wait_seconds=120))
    assert story(result) == [("entry_skipped", 180, 1.0)]
    assert reasons(result) == ["timeout"]


def test_legs_that_the_open_jumped_below_fill_there_in_descending_order() -> None:
    entry = ladder({"size": 0.5, "offset": -0.5}, {"size": 0.5, "offset": -0.25})
    market = candles([0, 1, 1, 1, 1], [60, 0.4, 0.5, 0.4, 0.5])
    result = trade(market, entry=entry)
    assert story(result)[:2] == [("entry", 60, 0.4), ("ladder_entry", 60, 0.4)]
    assert [event.metadata["leg"] for event in result.events[:2]] == ["leg-1", "leg-0"]


def stories_of(market: Candles, calls: list[Call], **document: object) -> list[list[tuple[str, int, float]]]:
    return [story(result) for result in simulate(market, calls, strategy(**document))]


def test_independent_calls_open_trades_side_by_side() -> None:
    stories = stories_of(candles(*FLAT[:3]), [Call(2, 1, 60), Call(1, 1, 0)])
    assert [events[0] for events in stories] == [("entry", 0, 1.0), ("entry", 60, 1.0)]


def test_skip_refuses_calls_until_after_the_candle_in_which_the_trade_was_done() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 1, 0.4, 1], *FLAT[2:4])
    calls = [Call(1, 1, 0), Call(2, 1, 60), Call(3, 2, 61)]
    stories = stories_of(market, calls, overlap="skip", exits={"stop_loss": {"initial": 0.5}})
    # Call 1 is stopped in candle 1, so call 2 (candle 1) is refused and call 3 (candle 2) is not.
    assert stories[0][-1] == ("stop_loss", 60, 0.5)
    assert stories[1] == [("entry_skipped", 60, 1.0)]
    assert stories[2][0] == ("entry", 120, 1.0)


def test_a_skipped_call_does_not_block_but_a_waiting_one_does() -> None:
    market = candles(*FLAT)
    entry = {"type": "dip", "drop": 0.5, "max_wait_seconds": 120}
    calls = [Call(1, 1, 0), Call(2, 1, 60), Call(3, 1, 180), Call(4, 1, 240)]
    stories = stories_of(market, calls, overlap="skip", entry=entry)
    # Call 1 waits until it times out in the candle at 180; call 4 is free to wait until 420.
    assert [events[0][1] for events in stories] == [180, 60, 180, 420]


def test_a_call_that_was_refused_does_not_extend_the_block() -> None:
    market = candles([0, 1, 1, 1, 1], [60, 1, 1, 0.4, 1], *FLAT[2:6])
    calls = [Call(k, 1, 60 * k) for k in range(4)]
    stories = stories_of(market, calls, overlap="skip", exits={"stop_loss": {"initial": 0.5}})
    assert [events[0][0] for events in stories] == ["entry", "entry_skipped", "entry", "entry_skipped"]
