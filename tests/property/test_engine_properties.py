"""What holds for every strategy on every market: no look-ahead, no money from nowhere, no dependence on scale."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategy_space import random_calls, random_document, random_market, random_strategy, seeds

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType, Trade
from quantbot_pipeline.engine.metrics import equity_curve, run_metrics
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy, canonical_json, config_hash, parse_strategy

many = settings(max_examples=300, deadline=None, derandomize=True)

FORCED_REASONS = {"end_of_data", "no_candles"}


def is_forced_by_the_data(event: Event) -> bool:
    """Return whether an event says that the candles ended, not what the market did."""
    return (
        event.event_type is EventType.FINAL_EXIT
        or event.metadata.get("reason") in FORCED_REASONS
        or (event.metadata.get("reason") == "nothing_to_scale" and math.isnan(event.price))
    )


def known_before(trades: list[Trade], market: Candles, cut: int) -> list[str]:
    """Return the events that candles 0 … cut alone decide, as comparable text."""
    closes_at = int(market.timestamp[cut]) + market.interval_seconds
    return [
        repr(event)
        for trade in trades
        for event in trade.events
        if not is_forced_by_the_data(event)
        and (
            event.event_time < closes_at or (event.event_time == closes_at and event.event_type is EventType.STOP_MOVED)
        )
    ]


@many
@given(seeds())
def test_cutting_the_candles_changes_no_event_before_the_cut(random: Random) -> None:
    market = random_market(random, candles=random.choice([2, 10, 60]))
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    whole = simulate_reference(market, asked, strategy)
    for cut in {random.randrange(len(market)) for _ in range(3)}:
        part = simulate_reference(market.slice(0, cut + 1), asked, strategy)
        assert known_before(part, market, cut) == known_before(whole, market, cut)


@many
@given(seeds())
def test_another_future_changes_no_event_before_it(random: Random) -> None:
    market = random_market(random, candles=random.choice([2, 10, 60]))
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    cut = random.randrange(len(market) - 1)
    other = random_market(random, candles=len(market))
    scrambled = Candles(
        market.interval_seconds,
        market.timestamp,
        *(
            np.concatenate([getattr(market, name)[: cut + 1], getattr(other, name)[cut + 1 :]])
            for name in ("open", "high", "low", "close", "volume")
        ),
    ).validate()
    assert known_before(simulate_reference(scrambled, asked, strategy), market, cut) == known_before(
        simulate_reference(market, asked, strategy), market, cut
    )


def check_money(trade: Trade, strategy: Strategy) -> None:
    """Recompute the trade's result from the events alone, as an accountant would."""
    fee = strategy.costs.fee
    spent = received = bought = held = basis = realised = 0.0
    for event in trade.events:
        if event.event_type in BUY_EVENTS:
            quantity = event.size / (event.price * (1 + fee))
            bought = quantity if held == 0 else bought + quantity
            held += quantity
            spent += event.size
            basis += event.size
        elif event.event_type in SELL_EVENTS:
            quantity = event.size * bought
            proceeds = quantity * event.price * (1 - fee)
            received += proceeds
            realised += proceeds - basis * quantity / held
            basis -= basis * quantity / held
            held -= quantity
        if event.remaining_position == 0:
            assert held == pytest.approx(0, abs=1e-9 * max(bought, 1))
            held = basis = 0.0
        else:
            assert event.remaining_position == pytest.approx(held / bought, rel=1e-9)
        assert event.pnl_so_far == pytest.approx(realised, rel=1e-9, abs=1e-9)
    assert held == 0.0
    assert trade.cash_spent == pytest.approx(spent)
    assert trade.pnl == pytest.approx(received - spent, rel=1e-9, abs=1e-9)
    assert trade.events[-1].pnl_so_far == pytest.approx(trade.pnl, rel=1e-9, abs=1e-9)


def check_order(trade: Trade) -> None:
    """Check seq, time and bounds of a trade's events."""
    assert [event.seq for event in trade.events] == list(range(len(trade.events)))
    times = [event.event_time for event in trade.events]
    assert times == sorted(times)
    for event in trade.events:
        assert 0 <= event.size <= 1 + 1e-9
        assert 0 <= event.remaining_position <= 1
        if event.event_type is not EventType.ENTRY_SKIPPED:
            assert event.price > 0
    assert trade.done_at == times[-1]
    assert (trade.events[0].event_type is EventType.ENTRY) == trade.has_bought
    assert trade.has_bought or len(trade.events) == 1
    assert trade.max_adverse_excursion <= 0 <= trade.max_favourable_excursion


def check_marks(trade: Trade, market: Candles) -> None:
    """Check that the marks cover every candle from the first buy to the last sell, and end at the result."""
    if not trade.has_bought:
        assert len(trade.mark_timestamp) == 0
        return
    last_sell = [event for event in trade.events if event.event_type in SELL_EVENTS][-1]
    last_open = last_sell.event_time - (market.interval_seconds if last_sell.event_type is EventType.FINAL_EXIT else 0)
    covered = (market.timestamp >= trade.entered_at) & (market.timestamp <= last_open)
    assert trade.mark_timestamp.tolist() == market.timestamp[covered].tolist()
    assert trade.mark_value[-1] == pytest.approx(trade.pnl, rel=1e-12, abs=1e-15)


@many
@given(seeds())
def test_money_order_and_marks_are_consistent(random: Random) -> None:
    market = random_market(random)
    strategy = random_strategy(random)
    trades = simulate_reference(market, random_calls(random, market), strategy)
    for trade in trades:
        check_order(trade)
        check_money(trade, strategy)
        check_marks(trade, market)
    metrics = run_metrics(trades)
    assert metrics.trade_count + metrics.skipped_count == len(trades)
    curve = equity_curve(trades).equity
    if metrics.trade_count:
        assert curve[-1] == pytest.approx(metrics.final_pnl, rel=1e-9, abs=1e-9)


def scale(market: Candles, factor: float) -> Candles:
    prices = (market.open * factor, market.high * factor, market.low * factor, market.close * factor)
    return Candles(market.interval_seconds, market.timestamp, *prices, market.volume)


def scaled_event(event: Event, factor: float) -> str:
    """Return an event as text after multiplying what is a price; indicators are left out."""
    state: dict[str, Any] = dict(event.position_state)
    for key in ("average_entry", "stop", "peak"):
        if key in state:
            state[key] *= factor
    if "quantity" in state:
        state["quantity"] /= factor
    return repr(replace(event, price=event.price * factor, position_state=state, indicators={}))


@many
@given(seeds(), st.sampled_from([2.0**-40, 0.5, 2.0**20]))
def test_multiplying_all_prices_multiplies_only_prices(random: Random, factor: float) -> None:
    market = random_market(random)
    document = random_document(random, scale_free=True)
    asked = random_calls(random, market)
    slippage = document.get("costs", {}).get("slippage", {})
    plain = simulate_reference(market, asked, parse_strategy(document))
    if "capital_quote" in slippage:
        slippage["capital_quote"] *= factor
    scaled = simulate_reference(scale(market, factor), asked, parse_strategy(document))
    assert [scaled_event(event, 1.0) for trade in scaled for event in trade.events] == [
        scaled_event(event, factor) for trade in plain for event in trade.events
    ]
    assert [trade.pnl for trade in scaled] == [trade.pnl for trade in plain]


@many
@given(seeds())
def test_independent_calls_do_not_know_of_each_other(random: Random) -> None:
    market = random_market(random)
    strategy = parse_strategy({**random_document(random), "overlap": "independent"})
    asked = random_calls(random, market, only_entries=True)
    together = simulate_reference(market, asked, strategy)
    apart = {call.call_id: simulate_reference(market, [call], strategy)[0] for call in asked}
    assert [repr(trade) for trade in together] == [repr(apart[trade.call_id]) for trade in together]


@many
@given(seeds())
def test_order_and_selection_of_calls_change_nothing(random: Random) -> None:
    market = random_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    trades = simulate_reference(market, asked, strategy)
    reported = {call.call_id for call in asked[::2]}
    shuffled = random.sample(asked, len(asked))
    again = simulate_reference(market, shuffled, strategy, report_call_ids=reported)
    assert [repr(trade) for trade in again] == [repr(t) for t in trades if t.call_id in reported]


@many
@given(seeds())
def test_skipping_strategies_hold_one_trade_at_a_time(random: Random) -> None:
    market = random_market(random)
    overlap = random.choice(["skip", "scale_in"])
    strategy = parse_strategy({**random_document(random), "overlap": overlap})
    held = [trade for trade in simulate_reference(market, random_calls(random, market), strategy) if trade.has_bought]
    for before, after in pairwise(held):
        assert after.mark_timestamp[0] > before.mark_timestamp[-1]


@many
@given(seeds())
def test_a_document_and_its_canonical_form_mean_the_same(random: Random) -> None:
    document = random_document(random)
    strategy = parse_strategy(document)
    again = parse_strategy({"name": "other", **json.loads(canonical_json(strategy))})
    assert config_hash(again) == config_hash(strategy)
