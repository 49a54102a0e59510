"""Prices that waited: what lies between the events of a trade, by the rules of the engine."""

from dataclasses import replace

import pytest
from traded import candles_of, content_of, strategy_of, wild_candles

from quantbot_pipeline.report.trade_content import TradeContent
from quantbot_pipeline.report.trade_levels import Level, trade_levels
from quantbot_pipeline.strategy.presets import load_preset, preset_names

RISE_AND_FALL = candles_of([0, 1, 1, 1, 1], [60, 1, 2, 1, 2], [120, 2, 3, 1.7, 2.9], [180, 2.9, 2.9, 2, 2])


def _only(levels: list[Level]) -> Level:
    (level,) = levels
    return level


def test_a_trailing_stop_is_drawn_at_every_close_that_raised_it() -> None:
    # Armed by the high of 2, beyond 1.5: 2 · 0.8 from the close of candle 1 on, 3 · 0.8 from that of candle 2 on.
    content = content_of(RISE_AND_FALL, strategy_of(exits={"trailing": {"activate_at": 0.5, "distance": 0.2}}))

    stop = _only(trade_levels(content).stops)

    assert stop.steps == ((120, 1.6), (180, pytest.approx(2.4)))
    # The event tells of the arming alone.
    assert [event.price for event in content.events if event.event_type == "stop_moved"] == [1.6]
    assert stop.until == 180


def test_a_stop_falls_when_a_further_leg_lowers_the_average_and_targets_follow() -> None:
    # Half at 1, half at 0.8: 0.5 + 0.625 units for a cash of 1, so the average is 1 / 1.125 = 0.888…
    ladder = {
        "type": "ladder",
        "legs": [{"id": "now", "size": 0.5, "offset": 0.0}, {"id": "lower", "size": 0.5, "offset": -0.2}],
    }
    strategy = strategy_of(
        entry=ladder, exits={"stop_loss": {"initial": 0.5}, "targets": [{"multiple": 2.0, "size": 1.0}]}
    )
    candles = candles_of([0, 1, 1, 1, 1], [60, 1, 1, 0.75, 0.9], [120, 0.9, 1, 0.9, 1], [180, 1, 2, 1, 2])
    average = 1 / 1.125

    levels = trade_levels(content_of(candles, strategy))

    assert _only(levels.stops).steps == ((0, 0.5), (120, pytest.approx(average / 2)))
    assert _only(levels.targets).steps == ((0, 2.0), (120, pytest.approx(2 * average)))
    assert _only(levels.targets).until == 180
    assert _only(levels.averages).steps == ((0, 1.0), (60, pytest.approx(average)))
    order = _only(levels.orders)
    assert (order.name, order.steps, order.until) == ("leg lower, 50%", ((0, 0.8),), 60)


def test_a_dip_rests_until_it_fills_and_one_that_never_does_until_the_wait_is_over() -> None:
    dip = {"type": "dip", "drop": 0.25, "max_wait_seconds": 120}
    falls = candles_of([0, 1, 1, 1, 1], [60, 1, 1, 0.7, 0.8], [120, 0.8, 0.9, 0.8, 0.9])
    stays = candles_of(*([60 * k, 1, 1, 0.9, 1] for k in range(6)))

    filled = _only(trade_levels(content_of(falls, strategy_of(entry=dip))).orders)
    waited = _only(trade_levels(content_of(stays, strategy_of(entry=dip))).orders)

    assert (filled.steps, filled.until) == (((0, 0.75),), 60)
    # Candles that open up to 120 s after the first one: the wait is over at the close of the third.
    assert (waited.steps, waited.until) == (((0, 0.75),), 180)


def test_a_rebound_follows_the_lowest_low_down() -> None:
    rebound = {"type": "rebound", "rebound": 0.1}
    candles = candles_of([0, 1, 1, 0.8, 0.9], [60, 0.85, 0.87, 0.7, 0.75], [120, 0.75, 0.8, 0.74, 0.8])

    order = _only(trade_levels(content_of(candles, strategy_of(entry=rebound))).orders)

    # 10 % above the call's open of 1, then above the low of each candle before: 0.8, 0.7.
    assert order.steps == ((0, 1.1), (60, pytest.approx(0.88)), (120, pytest.approx(0.77)))
    assert order.until == 120


def test_a_re_entry_rests_below_the_highest_high_and_its_cycle_has_a_stop_of_its_own() -> None:
    # Stopped at 2.4 in candle 3 after a high of 3; half of it back is 1.5, which candle 5 touches.
    strategy = strategy_of(
        exits={"stop_loss": {"initial": 0.5}, "trailing": {"activate_at": 0.5, "distance": 0.2}},
        re_entry={"after": ["trailing"], "retrace": 0.5, "size": 0.4},
    )
    candles = candles_of(
        [0, 1, 1, 1, 1], [60, 1, 2, 1, 2], [120, 2, 3, 1.7, 2.9], [180, 2.9, 2.9, 2, 2], [240, 2, 2, 1.9, 1.9],
        [300, 1.9, 1.9, 1.4, 1.5], [360, 1.5, 1.6, 1.5, 1.6],
    )  # fmt: skip

    levels = trade_levels(content_of(candles, strategy))

    order = _only(levels.orders)
    assert (order.name, order.steps, order.until) == ("re-entry limit, 40%", ((240, 1.5),), 300)
    assert [stop.name for stop in levels.stops] == ["stop", "stop, cycle 2"]
    assert levels.stops[1].steps == ((300, 0.75),)


@pytest.mark.parametrize("preset", preset_names())
def test_recomputed_stops_are_those_that_events_tell_of(preset: str) -> None:
    """On wild candles, for every preset: fills at the open, gaps, ladders and re-entries among them."""
    strategy = load_preset(preset)
    told = 0
    for seed in range(6):
        candles = wild_candles(seed)
        content = content_of(candles, strategy, signal_at=int(candles.timestamp[100]))
        levels = trade_levels(content)
        assert levels.is_consistent, (seed, content.events)
        told += sum("stop" in event.position_state for event in content.events)
    assert told > 0


def test_candles_that_changed_since_the_run_are_told_of_and_the_events_are_believed() -> None:
    content = content_of(RISE_AND_FALL, strategy_of(exits={"trailing": {"activate_at": 0.5, "distance": 0.2}}))
    lower = candles_of([0, 1, 1, 1, 1], [60, 1, 1.8, 1, 1.8], [120, 1.8, 2.6, 1.7, 2.5], [180, 2.5, 2.9, 2, 2])

    levels = trade_levels(replace(content, candles=lower))

    assert not levels.is_consistent


def test_without_candles_there_are_no_levels() -> None:
    content = content_of(RISE_AND_FALL, strategy_of())
    without: TradeContent = replace(content, candles=content.candles.slice(0, 0))

    assert trade_levels(without).averages == []


def test_the_high_of_the_candle_inside_which_a_dip_was_bought_raises_no_stop() -> None:
    # Bought at 0.5 inside a candle whose high of 3 may have come before: the peak is 0.5, and 0.7 after the next.
    strategy = strategy_of(
        entry={"type": "dip", "drop": 0.5}, exits={"trailing": {"activate_at": 0.0, "distance": 0.2}}
    )
    candles = candles_of([0, 1, 1, 1, 1], [60, 1, 3, 0.5, 0.6], [120, 0.6, 0.7, 0.55, 0.6], [180, 0.6, 0.65, 0.6, 0.6])

    levels = trade_levels(content_of(candles, strategy))

    assert _only(levels.stops).steps == ((120, 0.4), (180, pytest.approx(0.56)))
    assert levels.is_consistent
