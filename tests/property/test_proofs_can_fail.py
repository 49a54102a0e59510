"""Each proof about the engine notices a wrong one: faults are planted into the reference engine, one at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from bookkeeping import check_marks, check_money, check_order
from causality import assert_engine_is_causal
from engines import as_text
from strategy_space import random_case, times_prices

from quantbot_pipeline.engine import orders, reference
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Event, EventType, Trade
from quantbot_pipeline.engine.fast import simulate_fast
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy

CASES = 200
"""On so many cases nothing is held against the right engine."""

MOST_CASES = 2_000
"""So many are tried until a fault shows: an early exit signal shows in one of some 200."""

pytestmark = pytest.mark.timeout(900)

Patch = Callable[[pytest.MonkeyPatch], None]


def prove_causality(case: Any, random: Random) -> None:
    assert_engine_is_causal(simulate_reference, case.market, case.calls, case.strategy, random)


def prove_books(case: Any, random: Random) -> None:
    strategy = case.strategy
    for trade in simulate_reference(case.market, case.calls, strategy):
        check_order(trade, case.market, strategy)
        check_money(trade, case.market, strategy)
        check_marks(trade, case.market)


def prove_parity(case: Any, random: Random) -> None:
    found = simulate_fast(case.market, case.calls, case.strategy)
    expected = simulate_reference(case.market, case.calls, case.strategy)
    assert [as_text(trade) for trade in found] == [as_text(trade) for trade in expected]


def is_refuted(prove: Callable[[Any, Random], None], seed: int) -> bool:
    """Return whether a case refutes what is proved."""
    try:
        prove(random_case(Random(seed)), Random(seed))  # noqa: S311 - cases, not secrets
    except (AssertionError, KeyError, IndexError, ValueError):
        # A wrong engine may also leave a trade that makes no sense to the books.
        return True
    return False


def is_noticed(prove: Callable[[Any, Random], None]) -> bool:
    """Return whether any case refutes what is proved."""
    return any(is_refuted(prove, seed) for seed in range(MOST_CASES))


def test_the_right_engine_is_not_accused() -> None:
    for prove in (prove_causality, prove_books, prove_parity):
        assert [seed for seed in range(CASES) if is_refuted(prove, seed)] == []


def _market_that(change: Callable[[Any], None]) -> Patch:
    """Return a patch after which the reference engine sees a changed market."""

    def patch(patches: pytest.MonkeyPatch) -> None:
        made = reference._Market.__init__

        def make(self: Any, candles: Candles, strategy: Strategy) -> None:
            made(self, candles, strategy)
            change(self)

        patches.setattr(reference._Market, "__init__", make)

    return patch


def _early_exit_signals(market: Any) -> None:
    if market.exit_signal is not None:
        market.exit_signal = [*market.exit_signal[1:], False]


def _early_entry_signals(market: Any) -> None:
    if market.entry_signal is not None:
        market.entry_signal = [*market.entry_signal[1:], False]


def _early_indicators(market: Any) -> None:
    market.indicators = {label: [*values[1:], values[-1]] for label, values in market.indicators.items()}


def _volume_of_this_candle(market: Any) -> None:
    market.quote_volume = [*market.quote_volume[1:], market.quote_volume[-1]]


def _stop_moves_before_the_candle(patches: pytest.MonkeyPatch) -> None:
    """Peak, stop and targets are brought up to date with the candle before it is traded."""
    inside = reference._TradeSimulation.inside

    def peek(self: Any, i: int) -> None:
        self.at_close(i)
        inside(self, i)

    patches.setattr(reference._TradeSimulation, "inside", peek)


def _rebound_knows_the_low_of_its_candle(patches: pytest.MonkeyPatch) -> None:
    stop_buy = orders.ReboundPlan.stop_buy

    def peek(self: Any, i: int) -> Any:
        self._lowest = min(self._lowest, self._lows[i])
        return stop_buy(self, i)

    patches.setattr(orders.ReboundPlan, "stop_buy", peek)


def _calls_that_end_well(patches: pytest.MonkeyPatch) -> None:
    """Only calls on tokens that rise until the end of the data are traded."""
    first_candle = reference._start_candle

    def choose(call: Call, market: Any, strategy: Strategy) -> int | None:
        start = first_candle(call, market, strategy)
        return None if start is None or market.close[-1] < market.open[start] else start

    patches.setattr(reference, "_start_candle", choose)


LOOK_AHEAD: dict[str, Patch] = {
    "exit signals of the close to come": _market_that(_early_exit_signals),
    "entry signals of the close to come": _market_that(_early_entry_signals),
    "indicators of the close to come": _market_that(_early_indicators),
    "volume of the candle to come": _market_that(_volume_of_this_candle),
    "calls chosen by how they end": _calls_that_end_well,
}


@pytest.mark.parametrize("fault", list(LOOK_AHEAD))
def test_look_ahead_is_noticed_by_cutting_and_scrambling(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    LOOK_AHEAD[fault](monkeypatch)
    assert is_noticed(prove_causality)


def _wrong_fee(patches: pytest.MonkeyPatch) -> None:
    """Sales pay the fee of a slightly cheaper venue."""
    sell = reference._TradeSimulation._sell

    def cheaper(self: Any, *args: Any, **more: Any) -> None:
        strategy = self.strategy
        costs = strategy.costs.model_copy(update={"fee": strategy.costs.fee * 0.999})
        self.strategy = strategy.model_copy(update={"costs": costs})
        sell(self, *args, **more)
        self.strategy = strategy

    patches.setattr(reference._TradeSimulation, "_sell", cheaper)


def _wrong_slippage(patches: pytest.MonkeyPatch) -> None:
    right = reference.slippage_fraction
    patches.setattr(reference, "slippage_fraction", lambda *args: right(*args) * 0.999)


def _free_limits_that_slip(patches: pytest.MonkeyPatch) -> None:
    """Limit buys pay slippage like market buys."""
    buy = reference._TradeSimulation._buy

    def slip(self: Any, *args: Any, **more: Any) -> None:
        buy(self, *args, **{**more, "has_slippage": True})

    patches.setattr(reference._TradeSimulation, "_buy", slip)


def _targets_before_the_stop(patches: pytest.MonkeyPatch) -> None:
    """Pessimistic candles are traded as optimistic ones."""
    made = reference._TradeSimulation.__init__

    def make(self: Any, *args: Any) -> None:
        made(self, *args)
        self._is_pessimistic = False

    patches.setattr(reference._TradeSimulation, "__init__", make)


def _gap_stops_at_the_stop(patches: pytest.MonkeyPatch) -> None:
    """A stop that the open jumped over still gets its own price."""
    sell = reference._TradeSimulation._sell_at_stop

    def kinder(self: Any, i: int, cycle: Any, raw_price: float, *, is_gap: bool = False) -> None:
        sell(self, i, cycle, cycle.stop, is_gap=is_gap)

    patches.setattr(reference._TradeSimulation, "_sell_at_stop", kinder)


def _changed_events(change: Callable[[list[Event]], Sequence[Event]]) -> Patch:
    """Return a patch after which trades tell their events differently."""

    def patch(patches: pytest.MonkeyPatch) -> None:
        trade = reference._TradeSimulation.trade

        def retell(self: Any) -> Trade:
            told = trade(self)
            return replace(told, events=tuple(change(list(told.events))))

        patches.setattr(reference._TradeSimulation, "trade", retell)

    return patch


def _swap_neighbours(events: list[Event]) -> Sequence[Event]:
    """Tell two fills of one candle in the wrong order, numbered as if it were right."""
    for k in range(1, len(events) - 1):
        if events[k].event_time == events[k + 1].event_time and events[k].event_type is not events[k + 1].event_type:
            events[k], events[k + 1] = replace(events[k + 1], seq=k), replace(events[k], seq=k + 1)
            break
    return events


def _lose_a_cent(events: list[Event]) -> Sequence[Event]:
    return [*events[:-1], replace(events[-1], pnl_so_far=events[-1].pnl_so_far - 1e-6)]


def _no_stop_moves(events: list[Event]) -> Sequence[Event]:
    kept = [event for event in events if event.event_type is not EventType.STOP_MOVED]
    return [replace(event, seq=k) for k, event in enumerate(kept)]


WRONG_BOOKS: dict[str, Patch] = {
    "stops that move before their candle": _stop_moves_before_the_candle,
    "a rebound that knows the low of its candle": _rebound_knows_the_low_of_its_candle,
    "a fee of 0.999 of the right one": _wrong_fee,
    "slippage of 0.999 of the right one": _wrong_slippage,
    "limit buys with slippage": _free_limits_that_slip,
    "targets before the stop": _targets_before_the_stop,
    "stops that never gap": _gap_stops_at_the_stop,
    "two events of a candle swapped": _changed_events(_swap_neighbours),
    "a profit that is 1e-6 off": _changed_events(_lose_a_cent),
    "stops that move untold": _changed_events(_no_stop_moves),
}


@pytest.mark.parametrize("fault", list(WRONG_BOOKS))
def test_wrong_prices_amounts_and_order_are_noticed_by_the_books(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    WRONG_BOOKS[fault](monkeypatch)
    assert is_noticed(prove_books)


@pytest.mark.parametrize("fault", [*LOOK_AHEAD, *WRONG_BOOKS])
def test_every_fault_is_noticed_by_comparing_the_engines(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    {**LOOK_AHEAD, **WRONG_BOOKS}[fault](monkeypatch)
    assert is_noticed(prove_parity)


@contextmanager
def _an_absolute_price() -> Iterator[pytest.MonkeyPatch]:
    """Prices below 1e-6 are taken for nothing: what a fixed epsilon does to tokens that cost little."""
    with pytest.MonkeyPatch.context() as patches:
        _market_that(lambda market: setattr(market, "high", [max(high, 1e-6) for high in market.high]))(patches)
        yield patches


def test_a_fixed_epsilon_is_noticed_by_scaling() -> None:
    case = random_case(Random(3))  # noqa: S311 - cases, not secrets
    tiny = times_prices(case.market, 2.0**-40)
    document = {
        "name": "plain",
        "entry": {"type": "immediate"},
        "exits": {"trailing": {"activate_at": 1, "distance": 0.5}},
    }
    strategy = replace(case, document=document).strategy

    def results() -> list[list[float]]:
        return [
            [trade.pnl for trade in simulate_reference(market, case.calls, strategy)] for market in (case.market, tiny)
        ]

    plain, scaled = results()
    assert plain == scaled
    assert np.isfinite(plain).all()
    with _an_absolute_price():
        plain, scaled = results()
    assert plain != scaled
