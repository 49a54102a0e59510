"""The reference engine: `docs/engine.md` sections 3 to 6, written down as plainly as they are there.

It is the yardstick of every quicker engine: one object per trade, one method per step of a candle, no
vectors inside the loop. Prices are in quote currency, times in seconds since the epoch (UTC), sizes and cash in
fractions of the trade's capital of 1, candles are named by their index `i`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.conditions import SignalEvaluator, signal_warm_up
from quantbot_pipeline.engine.events import Event, EventType, Trade
from quantbot_pipeline.engine.orders import (
    BuyOrder,
    BuyPlan,
    DipPlan,
    ImmediatePlan,
    LadderPlan,
    ReboundPlan,
    ReEntryPlan,
    SignalPlan,
    last_candle_within,
)
from quantbot_pipeline.engine.score_conditions import Truths, bind_scores, score_truths
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.model import (
    Dip,
    FixedSlippage,
    Immediate,
    Ladder,
    Rebound,
    SignalEntry,
    Strategy,
    VolumeShareSlippage,
)
from quantbot_pipeline.strategy.signals import SignalNode

ZERO_SIZE = 1e-12
"""Shares of a cycle's quantity below this are zero."""

NO_STOP = -np.inf
"""A stop that nothing touches."""

NaN = float("nan")

_CYCLE_END_REASON: Mapping[EventType, str] = {
    EventType.TARGET_HIT: "target",
    EventType.STOP_LOSS: "stop",
    EventType.TRAILING_STOP: "trailing",
    EventType.SIGNAL_EXIT: "signal",
    EventType.TIME_EXIT: "time",
}


def is_entry_call(call: Call) -> bool:
    """Return whether a call opens a trade: an `entry` that is not a `sell`."""
    return call.signal_type is SignalType.ENTRY and call.side is Side.BUY


def is_scale_in_call(call: Call) -> bool:
    """Return whether a call adds to a trade: a `scale_in` that is not a `sell`."""
    return call.signal_type is SignalType.SCALE_IN and call.side is Side.BUY


def is_scale_out_call(call: Call) -> bool:
    """Return whether a call sells a part only."""
    return call.signal_type is SignalType.SCALE_OUT


def is_exit_call(call: Call) -> bool:
    """Return whether a call sells: an `exit` or `scale_out`, or any call with side `sell`."""
    return call.signal_type is SignalType.EXIT or is_scale_out_call(call) or call.side is Side.SELL


class _Market:
    """The candles as plain lists, and what the strategy's signals say at each close."""

    def __init__(self, candles: Candles, strategy: Strategy) -> None:
        self.candles = candles
        self.n = len(candles)
        self.interval = candles.interval_seconds
        self.time: list[int] = candles.timestamp.tolist()
        self.open: list[float] = candles.open.tolist()
        self.high: list[float] = candles.high.tolist()
        self.low: list[float] = candles.low.tolist()
        self.close: list[float] = candles.close.tolist()
        self.quote_volume: list[float] = (candles.volume * candles.close).tolist()

        evaluator = SignalEvaluator(candles)

        def evaluate(signal: SignalNode | None) -> list[bool] | None:
            return None if signal is None else evaluator.evaluate(signal).tolist()

        entry = strategy.entry
        self.entry_signal = evaluate(entry.when if isinstance(entry, SignalEntry) else None)
        legs = entry.legs if isinstance(entry, Ladder) else ()
        self.leg_signals = [evaluate(leg.when) for leg in legs]
        self.exit_signal = evaluate(strategy.exits.when)
        self.indicators: dict[str, list[float]] = {
            label: evaluator.indicator(operand).tolist() for label, operand in strategy.indicators().items()
        }

    def first_candle_at(self, time: int) -> int:
        """Return the index of the first candle with t >= time; n if there is none."""
        return bisect_left(self.time, time)

    def indicators_at_close(self, i: int) -> dict[str, float]:
        """Return the values at the close of candle i; NaN before the first candle."""
        return {label: values[i] if i >= 0 else NaN for label, values in self.indicators.items()}


class _Markets:
    """The candles under what a strategy's conditions on scores say of each call."""

    def __init__(self, candles: Candles, strategy: Strategy) -> None:
        self._candles = candles
        self._strategy = strategy
        self._conditions = strategy.score_conditions()
        self._markets: dict[Truths, _Market] = {}

    def of(self, call: Call) -> _Market:
        """Return what the signals say at each close, for a call; one market for all where no score is asked for."""
        truths = score_truths(self._conditions, call)
        if truths not in self._markets:
            bound = bind_scores(self._strategy, truths) if truths else self._strategy
            self._markets[truths] = _Market(self._candles, bound)
        return self._markets[truths]


def slippage_fraction(strategy: Strategy, order_notional: float, quote_volume: float | None) -> float:
    """Return how much worse than its raw price a market or stop order fills.

    Args:
        strategy: Whose costs apply.
        order_notional: Cash of a buy, or quantity times raw price of a sell; fraction of the trade's capital.
        quote_volume: Volume times close of the candle before the fill's candle, quote currency; None if
            there is no such candle.
    """
    slippage = strategy.costs.slippage
    if isinstance(slippage, FixedSlippage):
        return slippage.fraction
    if not quote_volume:
        return slippage.cap
    share = order_notional * slippage.capital_quote / quote_volume
    return min(slippage.cap, slippage.base + slippage.impact * share)


@dataclass(slots=True)
class _Cycle:
    """From the first buy while flat to flat again.

    Attributes:
        number: 1 for the trade's first cycle.
        began_in: Candle of its first buy.
        began_inside: Whether that buy filled inside the candle, not at its open.
        average_entry: Mean execution price of what it bought, by quantity, without fees.
        peak: Highest price that counts for break-even and trailing.
        stop: Stop in force; `NO_STOP` without one.
        max_hold_candle: First candle at which it was held long enough.
        target_prices: Of all targets; those before `next_target` filled.
        bought: Quantity bought in it.
        quantity: Quantity still open.
        cost: Cash spent on the open quantity, fees included.
        stop_kind: What set the stop in force: `initial`, `break_even` or `trailing`.
        ended_in: Candle in which it became flat.
    """

    number: int
    began_in: int
    began_inside: bool
    average_entry: float
    peak: float
    stop: float
    max_hold_candle: int
    target_prices: list[float]
    next_target: int = 0
    bought: float = 0.0
    quantity: float = 0.0
    cost: float = 0.0
    stop_kind: str = "initial"
    is_break_even_due: bool = False
    is_break_even_armed: bool = False
    is_trailing_armed: bool = False
    ended_in: int | None = None
    ended_at_close: bool = False
    exit_time: int = 0


@dataclass(slots=True)
class _Fill:
    """What is kept of a fill for marks and excursions.

    Attributes:
        candle: Candle in which it happened.
        cycle: Its cycle.
        price_to_average: Execution price / average entry after it.
        average_entry: Average entry after it.
        quantity: Open quantity after it.
        cash: Cash in - cash out of the trade after it.
    """

    candle: int
    cycle: _Cycle
    price_to_average: float
    average_entry: float
    quantity: float
    cash: float


@dataclass(slots=True)
class _CallsOfCaller:
    """Calls that act on trades of one caller, by the candle at whose open they act."""

    exits: dict[int, list[Call]] = field(default_factory=dict)
    scale_ins: dict[int, list[Call]] = field(default_factory=dict)


class _TradeSimulation:
    """One trade, from candle a until it is done."""

    def __init__(self, market: _Market, strategy: Strategy, call: Call, start: int, calls: _CallsOfCaller) -> None:
        self.market = market
        self.strategy = strategy
        self.call = call
        self.start = start
        self.reference = market.open[start]
        self.horizon_candle = market.first_candle_at(market.time[start] + strategy.horizon_seconds)
        self.calls = calls

        self.plan: BuyPlan | None = self._entry_plan()
        self.cycle: _Cycle | None = None
        self.cycles: list[_Cycle] = []
        self.re_entries = 0
        self.highest_high: float | None = None
        self.cash_spent = 0.0
        self.proceeds = 0.0
        self.realised = 0.0
        self.events: list[Event] = []
        self.fills: list[_Fill] = []
        self.used_scale_ins: list[int] = []
        self.done_in: int | None = None

        # The loop reads these at every candle.
        self._is_pessimistic = strategy.intrabar == "pessimistic"
        self._stop_factor = 1.0 - strategy.exits.stop_loss.initial if strategy.exits.stop_loss else NO_STOP
        self._multiples = [target.multiple for target in strategy.exits.targets]
        self._average_changed = False

    def _entry_plan(self) -> BuyPlan:
        market, entry, start = self.market, self.strategy.entry, self.start
        if isinstance(entry, Immediate):
            return ImmediatePlan(start)
        last = last_candle_within(market.time, market.time[start], entry.max_wait_seconds)
        if isinstance(entry, Dip):
            return DipPlan(last, self.reference * (1.0 - entry.drop))
        if isinstance(entry, Rebound):
            return ReboundPlan(start, last, self.reference, entry.rebound, market.low)
        if isinstance(entry, SignalEntry):
            return SignalPlan(start, last, market.entry_signal or [])
        return LadderPlan(start, last, self.reference, entry, market.leg_signals)

    def run(self) -> None:
        """Go through the candles from a on until the trade is done."""
        for i in range(self.start, self.market.n):
            self.at_open(i)
            if self.done_in is None and not self._ended_in(i):
                self.at_gaps(i)
            if self.done_in is None and not self._ended_in(i):
                self.inside(i)
            if self.done_in is not None:
                return
            self.at_close(i)
        self.after_last_candle()

    def _ended_in(self, i: int) -> bool:
        """Return whether a cycle ended in candle i: nothing is bought in it any more."""
        return self.cycle is None and bool(self.cycles) and self.cycles[-1].ended_in == i

    def at_open(self, i: int) -> None:
        """Fill market orders: sales first, then buys."""
        if i >= self.horizon_candle:
            self._end_at_horizon(i)
            return
        if self.cycle is not None:
            self._sell_at_open(i, self.cycle)
        if not self._ended_in(i):
            if self.plan is not None:
                self._buy_at_open(i, self.plan)
            if self.cycle is not None and i in self.calls.scale_ins:
                self._scale_in(i)

    def _end_at_horizon(self, i: int) -> None:
        self.plan = None
        if self.cycle is not None:
            self._sell_all(i, EventType.TIME_EXIT, self.market.open[i], {"order": "market", "reason": "horizon"})
        elif not self.cycles:
            self._skip(self.market.time[i], "horizon", i - 1)
        self.done_in = i

    def _sell_at_open(self, i: int, cycle: _Cycle) -> None:
        """Sell all for the first reason that applies, else what scale-out calls ask for."""
        price = self.market.open[i]
        exit_calls = self.calls.exits.get(i, ())
        full_exit = next((call for call in exit_calls if not is_scale_out_call(call)), None) if exit_calls else None
        if i >= cycle.max_hold_candle:
            self._sell_all(i, EventType.TIME_EXIT, price, {"order": "market", "reason": "max_hold"})
        elif full_exit is not None:
            metadata = {"order": "market", "reason": "exit_call", "exit_call_id": full_exit.call_id}
            self._sell_all(i, EventType.SIGNAL_EXIT, price, metadata)
        elif self.market.exit_signal is not None and self.market.exit_signal[i - 1]:
            self._sell_all(i, EventType.SIGNAL_EXIT, price, {"order": "market", "reason": "signal"})
        else:
            for call in exit_calls:
                if self.cycle is not None:
                    share = self.strategy.exits.scale_out_size
                    metadata = {"order": "market", "reason": "exit_call", "exit_call_id": call.call_id}
                    self._sell(i, EventType.SIGNAL_EXIT, share * cycle.bought, price, metadata)

    def _buy_at_open(self, i: int, plan: BuyPlan) -> None:
        """Fill the plan's market orders; where its wait is over, end it."""
        price = self.market.open[i]
        for order in plan.market_orders(i):
            self._fill(i, plan, order, price, inside=False)
        if i <= plan.last_candle or self.plan is None:
            return
        self.plan = None
        if not self.cycles:
            self._time_out(i)
        elif self.cycle is None:
            self.done_in = i

    def _time_out(self, i: int) -> None:
        """Nothing was bought within the wait: skip the call, or buy at the open."""
        entry = self.strategy.entry
        if isinstance(entry, Dip | Rebound | SignalEntry) and entry.on_timeout == "market":
            metadata = {"order": "market", "reason": "timeout"}
            self._buy(i, EventType.ENTRY, 1.0, self.market.open[i], metadata, has_slippage=True, inside=False)
        else:
            self._skip(self.market.time[i], "timeout", i - 1)
            self.done_in = i

    def _scale_in(self, i: int) -> None:
        for call in self.calls.scale_ins[i]:
            self.used_scale_ins.append(call.call_id)
            metadata = {"order": "market", "reason": "scale_in_call", "scale_in_call_id": call.call_id}
            self._buy(
                i,
                EventType.SCALE_IN,
                self.strategy.scale_in_size,
                self.market.open[i],
                metadata,
                has_slippage=True,
                inside=False,
            )

    def at_gaps(self, i: int) -> None:
        """Fill at the open what rests and whose price the open reached or passed."""
        price = self.market.open[i]
        cycle = self.cycle
        if cycle is not None:
            if price <= cycle.stop and cycle.began_in < i:
                self._sell_at_stop(i, cycle, price, is_gap=True)
                return
            self._fill_targets(i, cycle, reached=price, at_open=True)
        plan = self.plan
        if plan is None or self._ended_in(i):
            return
        for order in plan.limit_orders(i):
            if price <= order.price:
                self._fill(i, plan, order, price, inside=False, is_gap=price < order.price)
        stop_buy = plan.stop_buy(i)
        if stop_buy is not None and price >= stop_buy.price:
            self._fill(i, plan, stop_buy, price, inside=False, is_gap=price > stop_buy.price)

    def inside(self, i: int) -> None:
        """Fill resting orders that the candle's low or high touched."""
        cycle = self.cycle
        if cycle is None:
            self._begin_inside(i)
        elif self._is_pessimistic:
            if self.plan is not None:
                self._fill_touched_limits(i, self.plan, above=cycle.stop)
            if self.market.low[i] <= cycle.stop:
                self._sell_at_stop(i, cycle, cycle.stop)
            elif cycle.next_target < len(cycle.target_prices):
                self._fill_targets(i, cycle, reached=self.market.high[i], at_open=False)
        else:
            self._fill_targets(i, cycle, reached=self.market.high[i], at_open=False)
            if self.cycle is not None and self.plan is not None:
                self._fill_touched_limits(i, self.plan, above=NO_STOP)
            if self.cycle is not None and self.market.low[i] <= cycle.stop:
                self._sell_at_stop(i, cycle, cycle.stop)

    def _begin_inside(self, i: int) -> None:
        """Begin a cycle with the first limit or stop-buy that was touched while flat."""
        plan = self.plan
        if plan is None:
            return
        stop_buy = plan.stop_buy(i)
        if stop_buy is not None and self.market.high[i] >= stop_buy.price:
            self._fill(i, plan, stop_buy, stop_buy.price, inside=True)
        touched = [order for order in plan.limit_orders(i) if self.market.low[i] <= order.price]
        for order in touched:
            if self.cycle is None or order.price > self.cycle.stop:
                self._fill(i, plan, order, order.price, inside=True)
        if self._is_pessimistic and self.cycle is not None and self.market.low[i] <= self.cycle.stop:
            self._sell_at_stop(i, self.cycle, self.cycle.stop)

    def _fill_touched_limits(self, i: int, plan: BuyPlan, above: float) -> None:
        """Fill the limits that the low touched and that lie above a price, in descending order."""
        for order in plan.limit_orders(i):
            if self.market.low[i] <= order.price and order.price > above:
                self._fill(i, plan, order, order.price, inside=True)

    def _fill_targets(self, i: int, cycle: _Cycle, *, reached: float, at_open: bool) -> None:
        """Fill the targets at or below the price that was reached, in ascending order."""
        while self.cycle is not None and cycle.next_target < len(cycle.target_prices):
            price = cycle.target_prices[cycle.next_target]
            if reached < price:
                return
            target = self.strategy.exits.targets[cycle.next_target]
            cycle.next_target += 1
            break_even = self.strategy.exits.break_even
            if break_even is not None and break_even.after_target == cycle.next_target:
                cycle.is_break_even_due = True
            metadata: dict[str, Any] = {"order": "limit", "target": cycle.next_target}
            if at_open and reached > price:
                metadata["gap"] = True
            fill_price = reached if at_open else price
            self._sell(i, EventType.TARGET_HIT, target.size * cycle.bought, fill_price, metadata)

    def at_close(self, i: int) -> None:
        """Move peak, stop and targets; they act from the next candle on."""
        cycle = self.cycle
        high = self.market.high[i]
        if self.cycles:
            first = self.cycles[0]
            if not (first.began_in == i and first.began_inside) and (
                self.highest_high is None or high > self.highest_high
            ):
                self.highest_high = high
        if cycle is None:
            return
        if high > cycle.peak and not (cycle.began_in == i and cycle.began_inside):
            cycle.peak = high
        self._move_stop(i, cycle)
        if self._average_changed:
            cycle.target_prices = [cycle.average_entry * multiple for multiple in self._multiples]
            self._average_changed = False

    def _move_stop(self, i: int, cycle: _Cycle) -> None:
        break_even, trailing = self.strategy.exits.break_even, self.strategy.exits.trailing
        arms_break_even = (
            break_even is not None
            and not cycle.is_break_even_armed
            and (
                cycle.is_break_even_due
                if break_even.gain is None
                else cycle.peak >= cycle.average_entry * (1.0 + break_even.gain)
            )
        )
        arms_trailing = (
            trailing is not None
            and not cycle.is_trailing_armed
            and cycle.peak >= cycle.average_entry * (1.0 + trailing.activate_at)
        )
        cycle.is_break_even_armed |= arms_break_even
        cycle.is_trailing_armed |= arms_trailing
        if not (cycle.is_break_even_armed or cycle.is_trailing_armed):
            if self._stop_factor > 0:
                cycle.stop = cycle.average_entry * self._stop_factor
            return
        if break_even is not None and cycle.is_break_even_armed:
            level = cycle.average_entry * (1.0 + break_even.offset)
            self._raise_stop(i, cycle, level, "break_even", is_arming=arms_break_even)
        if trailing is not None and cycle.is_trailing_armed:
            level = cycle.peak * (1.0 - trailing.distance)
            self._raise_stop(i, cycle, level, "trailing", is_arming=arms_trailing)

    def _raise_stop(self, i: int, cycle: _Cycle, level: float, kind: str, *, is_arming: bool) -> None:
        """Set the stop to the level unless it is higher already; say so when that is an arming."""
        is_raised = level > cycle.stop
        if level >= cycle.stop:
            cycle.stop = level
            cycle.stop_kind = kind
        if is_arming and is_raised:
            self._write(
                self.market.time[i] + self.market.interval,
                EventType.STOP_MOVED,
                level,
                0.0,
                {"reason": kind},
                known_close=i,
            )

    def after_last_candle(self) -> None:
        """Sell at the last close what is still open; skip an entry that is still waiting."""
        last = self.market.n - 1
        closes_at = self.market.time[last] + self.market.interval
        if self.cycle is not None:
            metadata = {"order": "market", "reason": "end_of_data"}
            self._sell_all(last, EventType.FINAL_EXIT, self.market.close[last], metadata, at_close=True)
        elif not self.cycles:
            self._skip(closes_at, "end_of_data", last)
        self.done_in = last

    def _slippage(self, i: int, order_notional: float) -> float:
        quote_volume = self.market.quote_volume[i - 1] if i > 0 else None
        return slippage_fraction(self.strategy, order_notional, quote_volume)

    def _fill(
        self, i: int, plan: BuyPlan, order: BuyOrder, price: float, *, inside: bool, is_gap: bool = False
    ) -> None:
        """Fill an order of the plan at a raw price."""
        if not self.cycles:
            event_type = EventType.ENTRY
        elif isinstance(plan, ReEntryPlan):
            event_type = EventType.RE_ENTRY
            self.re_entries += 1
        else:
            event_type = EventType.LADDER_ENTRY
        metadata: dict[str, Any] = {"order": order.kind}
        if order.leg_id is not None:
            metadata["leg"] = order.leg_id
        if is_gap:
            metadata["gap"] = True
        plan.on_filled(order, i)
        if plan.is_filled:
            self.plan = None
        has_slippage = order.kind != "limit"
        self._buy(i, event_type, order.size, price, metadata, has_slippage=has_slippage, inside=inside)

    def _buy(
        self,
        i: int,
        event_type: EventType,
        cash: float,
        raw_price: float,
        metadata: Mapping[str, Any],
        *,
        has_slippage: bool,
        inside: bool,
    ) -> None:
        """Spend cash at a raw price; begin a cycle when flat."""
        price = raw_price * (1.0 + self._slippage(i, cash)) if has_slippage else raw_price
        quantity = cash / (price * (1.0 + self.strategy.costs.fee))
        cycle = self.cycle
        if cycle is None:
            cycle = self._begin_cycle(i, price, inside=inside)
        cycle.bought += quantity
        cycle.quantity += quantity
        # Added by difference, so that buys at one price leave the average at exactly that price.
        cycle.average_entry += (price - cycle.average_entry) * (quantity / cycle.bought)
        cycle.cost += cash
        self.cash_spent += cash
        self._average_changed = True
        self._keep_fill(i, cycle, price)
        self._write(self.market.time[i], event_type, price, cash, metadata, known_close=i - 1)

    def _begin_cycle(self, i: int, price: float, *, inside: bool) -> _Cycle:
        max_hold = self.strategy.exits.max_hold_seconds
        cycle = _Cycle(
            number=len(self.cycles) + 1,
            began_in=i,
            began_inside=inside,
            average_entry=price,
            peak=price,
            stop=price * self._stop_factor if self._stop_factor > 0 else NO_STOP,
            max_hold_candle=(
                self.market.n if max_hold is None else self.market.first_candle_at(self.market.time[i] + max_hold)
            ),
            target_prices=[price * multiple for multiple in self._multiples],
        )
        self.cycle = cycle
        self.cycles.append(cycle)
        return cycle

    def _sell_at_stop(self, i: int, cycle: _Cycle, raw_price: float, *, is_gap: bool = False) -> None:
        metadata: dict[str, Any] = {"order": "stop", "stop": cycle.stop_kind}
        if is_gap:
            metadata["gap"] = True
        is_trailing = cycle.stop_kind == "trailing"
        event_type = EventType.TRAILING_STOP if is_trailing else EventType.STOP_LOSS
        self._sell_all(i, event_type, raw_price, metadata)

    def _sell_all(
        self,
        i: int,
        event_type: EventType,
        raw_price: float,
        metadata: Mapping[str, Any],
        *,
        at_close: bool = False,
    ) -> None:
        assert self.cycle is not None  # noqa: S101 - callers hold a position; tells the type checker
        self._sell(i, event_type, self.cycle.quantity, raw_price, metadata, at_close=at_close)

    def _sell(
        self,
        i: int,
        event_type: EventType,
        quantity: float,
        raw_price: float,
        metadata: Mapping[str, Any],
        *,
        at_close: bool = False,
    ) -> None:
        """Sell a quantity of the open cycle at a raw price, at most all of it."""
        cycle = self.cycle
        assert cycle is not None  # noqa: S101 - as in _sell_all
        if cycle.quantity - quantity < ZERO_SIZE * cycle.bought:
            quantity = cycle.quantity
        price = raw_price
        if event_type is not EventType.TARGET_HIT:
            price = raw_price * (1.0 - self._slippage(i, quantity * raw_price))
        proceeds = quantity * price * (1.0 - self.strategy.costs.fee)
        cost = cycle.cost * (quantity / cycle.quantity)
        size = quantity / cycle.bought
        cycle.cost -= cost
        cycle.quantity -= quantity
        self.proceeds += proceeds
        self.realised += proceeds - cost
        self._keep_fill(i, cycle, price)
        time = self.market.time[i] + (self.market.interval if at_close else 0)
        self._write(time, event_type, price, size, metadata, known_close=i if at_close else i - 1)
        if cycle.quantity == 0.0:
            cycle.exit_time = time
            cycle.ended_at_close = at_close
            self._end_cycle(i, _CYCLE_END_REASON.get(event_type, ""))

    def _end_cycle(self, i: int, reason: str) -> None:
        """Cancel the cycle's orders; let a re-entry rest from the next candle on, or be done."""
        assert self.cycle is not None  # noqa: S101 - as in _sell_all
        self.cycle.ended_in = i
        self.cycle = None
        self.plan = None
        re_entry = self.strategy.re_entry
        if re_entry is None or reason not in re_entry.after or self.re_entries >= re_entry.max_count:
            self.done_in = i
            return
        last = last_candle_within(self.market.time, self.market.time[i], re_entry.max_wait_seconds)
        self.plan = ReEntryPlan(last, re_entry.retrace, re_entry.size, lambda: self.highest_high)

    def _skip(self, time: int, reason: str, known_close: int) -> None:
        self._write(time, EventType.ENTRY_SKIPPED, self.reference, 0.0, {"reason": reason}, known_close=known_close)

    def _write(
        self,
        time: int,
        event_type: EventType,
        price: float,
        size: float,
        metadata: Mapping[str, Any],
        *,
        known_close: int,
    ) -> None:
        """Write an event; `known_close` is the last candle that was closed when it happened."""
        cycle = self.cycle
        state: dict[str, float] = {}
        if cycle is not None:
            state = {
                "quantity": cycle.quantity,
                "average_entry": cycle.average_entry,
                "stop": cycle.stop if cycle.stop > NO_STOP else NaN,
                "peak": cycle.peak,
                "cycle": cycle.number,
            }
        self.events.append(
            Event(
                call_id=self.call.call_id,
                seq=len(self.events),
                event_time=time,
                event_type=event_type,
                price=price,
                size=size,
                remaining_position=cycle.quantity / cycle.bought if cycle is not None else 0.0,
                pnl_so_far=self.realised,
                indicators=self.market.indicators_at_close(known_close),
                position_state=state,
                metadata=metadata,
            )
        )

    def _keep_fill(self, i: int, cycle: _Cycle, price: float) -> None:
        self.fills.append(
            _Fill(
                i,
                cycle,
                price / cycle.average_entry,
                cycle.average_entry,
                cycle.quantity,
                self.proceeds - self.cash_spent,
            )
        )

    def trade(self) -> Trade:
        """Return what came of the call; the trade is done."""
        marks = _mark(self.market, self.strategy, self.fills)
        adverse, favourable = _excursions(self.market, self.fills, self.cycles)
        return Trade(
            call_id=self.call.call_id,
            caller_id=self.call.caller_id,
            signal_timestamp=self.call.signal_timestamp,
            events=tuple(self.events),
            pnl=self.proceeds - self.cash_spent,
            cash_spent=self.cash_spent,
            entered_at=self.market.time[self.cycles[0].began_in] if self.cycles else None,
            done_at=self.events[-1].event_time,
            holding_seconds=sum(cycle.exit_time - self.market.time[cycle.began_in] for cycle in self.cycles),
            max_adverse_excursion=adverse,
            max_favourable_excursion=favourable,
            mark_timestamp=marks[0],
            mark_value=marks[1],
            interval_seconds=self.market.interval,
        )


def _held(fills: Sequence[_Fill]) -> tuple[int, IntArray]:
    """Return the first candle, and for each candle up to the last fill's the position of its last fill."""
    first = fills[0].candle
    fill_candles = np.array([fill.candle for fill in fills])
    return first, np.searchsorted(fill_candles, np.arange(first, fill_candles[-1] + 1), side="right") - 1


def _mark(market: _Market, strategy: Strategy, fills: Sequence[_Fill]) -> tuple[IntArray, FloatArray]:
    """Return the open times from the first buy to the last sell, and the trade's value at each close."""
    if not fills:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    first, last_fill = _held(fills)
    candles = market.candles.slice(first, first + len(last_fill))
    quantity = np.array([fill.quantity for fill in fills])[last_fill]
    cash = np.array([fill.cash for fill in fills])[last_fill]
    gross = quantity * candles.close
    costs = strategy.costs
    if isinstance(costs.slippage, VolumeShareSlippage):
        before = [None if i == 0 else market.quote_volume[i - 1] for i in range(first, first + len(gross))]
        slippage = np.array(
            [
                slippage_fraction(strategy, notional, quote_volume)
                for notional, quote_volume in zip(gross.tolist(), before, strict=True)
            ]
        )
    else:
        slippage = np.full(len(gross), costs.slippage.fraction)
    return candles.timestamp.copy(), cash + gross * (1.0 - slippage) * (1.0 - costs.fee)


def _excursions(market: _Market, fills: Sequence[_Fill], cycles: Sequence[_Cycle]) -> tuple[float, float]:
    """Return the largest fall below and rise above the average entry while open, as fractions.

    A candle that was held from its open to its close counts its low and high, against the average entry at
    its close. The candle inside which a cycle began counts its fills and its close, the candle in which it
    ended its fills, each fill against the average entry after it.
    """
    if not fills:
        return 0.0, 0.0
    first, last_fill = _held(fills)
    average = np.array([fill.average_entry for fill in fills])[last_fill]
    ratios = [0.0]
    for cycle in cycles:
        assert cycle.ended_in is not None  # noqa: S101 - a trade that is done holds nothing
        begin = cycle.began_in + cycle.began_inside
        end = cycle.ended_in + cycle.ended_at_close
        if begin < end:
            held = average[begin - first : end - first]
            ratios.append(float((market.candles.low[begin:end] / held).min()) - 1.0)
            ratios.append(float((market.candles.high[begin:end] / held).max()) - 1.0)
        if cycle.began_inside and cycle.began_in < end:
            ratios.append(market.close[cycle.began_in] / float(average[cycle.began_in - first]) - 1.0)
    ratios += [
        fill.price_to_average - 1.0
        for fill in fills
        if fill.candle == fill.cycle.ended_in or (fill.cycle.began_inside and fill.candle == fill.cycle.began_in)
    ]
    return min(ratios), max(ratios)


def simulate_reference(
    candles: Candles,
    calls: Iterable[Call],
    strategy: Strategy,
    *,
    report_call_ids: Collection[int] | None = None,
) -> list[Trade]:
    """Simulate a strategy on all calls on one token.

    Args:
        candles: Of the token, one interval, valid (`Candles.validate`), from the strategy's warm-up before
            the first call to its horizon after the last.
        calls: All calls on the token that may matter, in any order: entries, and exit and scale calls, which
            act on trades of the same caller. Call ids are unique.
        strategy: What to do on a call.
        report_call_ids: Return only the trades of these calls; all calls still act. None returns all.

    Returns:
        One trade per entry call, and one (skipped, `nothing_to_scale`) per scale-in call that found nothing
        to scale, in the order of (signal_timestamp, call_id).

    Raises:
        SimulationError: two calls have the same id.
    """
    ordered = sorted(calls, key=lambda call: (call.signal_timestamp, call.call_id))
    if len({call.call_id for call in ordered}) < len(ordered):
        raise SimulationError("calls of one simulation have unique ids; found an id twice among those given")
    markets = _Markets(candles, strategy)
    # Signals aside, they are all the same.
    market = markets.of(ordered[0]) if ordered else _Market(candles, strategy)
    calls_of = _calls_by_caller(ordered, market, strategy)
    is_reported = (lambda _: True) if report_call_ids is None else set(report_call_ids).__contains__
    can_overlap = strategy.overlap == "independent"

    trades: dict[int, Trade] = {}
    used_scale_ins: set[int] = set()
    blocked_until = -1
    for call in ordered:
        if not is_entry_call(call) or (can_overlap and not is_reported(call.call_id)):
            continue
        start = _start_candle(call, market, strategy)
        if start is None:
            trades[call.call_id] = _skipped(call, market, "no_candles", None)
        elif not can_overlap and start <= blocked_until:
            trades[call.call_id] = _skipped(call, market, "overlap", start)
        else:
            simulation = _TradeSimulation(markets.of(call), strategy, call, start, calls_of[call.caller_id])
            simulation.run()
            trades[call.call_id] = simulation.trade()
            used_scale_ins.update(simulation.used_scale_ins)
            blocked_until = market.n if simulation.done_in is None else simulation.done_in

    if strategy.overlap == "scale_in":
        for call in ordered:
            if is_scale_in_call(call) and call.call_id not in used_scale_ins:
                acts_in = market.first_candle_at(call.signal_timestamp + strategy.costs.latency_seconds)
                candle = acts_in if acts_in < market.n else None
                trades[call.call_id] = _skipped(call, market, "nothing_to_scale", candle)
    return [trades[call.call_id] for call in ordered if call.call_id in trades and is_reported(call.call_id)]


def _calls_by_caller(ordered: Iterable[Call], market: _Market, strategy: Strategy) -> defaultdict[int, _CallsOfCaller]:
    """Return the calls that act on trades, by caller and by the candle at whose open they act."""
    by_caller: defaultdict[int, _CallsOfCaller] = defaultdict(_CallsOfCaller)
    for call in ordered:
        acts_in = market.first_candle_at(call.signal_timestamp + strategy.costs.latency_seconds)
        if is_exit_call(call) and strategy.exits.on_exit_call:
            by_caller[call.caller_id].exits.setdefault(acts_in, []).append(call)
        if is_scale_in_call(call) and strategy.overlap == "scale_in":
            by_caller[call.caller_id].scale_ins.setdefault(acts_in, []).append(call)
    return by_caller


def _start_candle(call: Call, market: _Market, strategy: Strategy) -> int | None:
    """Return candle a of an entry call; None when there is none or it comes too late."""
    start = market.first_candle_at(call.signal_timestamp + strategy.costs.latency_seconds)
    if start == market.n or market.time[start] - call.signal_timestamp > strategy.max_staleness_seconds:
        return None
    return start


def _skipped(call: Call, market: _Market, reason: str, candle: int | None) -> Trade:
    """Return the trade of a call that was skipped at the open of a candle, or without any."""
    time = call.signal_timestamp if candle is None else market.time[candle]
    event = Event(
        call_id=call.call_id,
        seq=0,
        event_time=time,
        event_type=EventType.ENTRY_SKIPPED,
        price=NaN if candle is None else market.open[candle],
        size=0.0,
        remaining_position=0.0,
        pnl_so_far=0.0,
        indicators={} if candle is None else market.indicators_at_close(candle - 1),
        metadata={"reason": reason},
    )
    return Trade(
        call_id=call.call_id,
        caller_id=call.caller_id,
        signal_timestamp=call.signal_timestamp,
        events=(event,),
        pnl=0.0,
        cash_spent=0.0,
        entered_at=None,
        done_at=time,
        holding_seconds=0,
        max_adverse_excursion=0.0,
        max_favourable_excursion=0.0,
        mark_timestamp=np.empty(0, dtype=np.int64),
        mark_value=np.empty(0, dtype=np.float64),
        interval_seconds=market.interval,
    )


def warm_up_candles(strategy: Strategy) -> int:
    """Return how many candles before a call's first candle its events depend on.

    Windows count exactly, exponential averages until less than 1e-12 of their seed is left (see
    `quantbot_pipeline.engine.indicators.indicator_warm_up`); one more for the values that events report at
    the close before the first candle, and one for the volume that `volume_share` slippage looks at.
    """
    for_signals = max((signal_warm_up(signal) + 1 for signal in strategy.signals()), default=0)
    for_slippage = 1 if isinstance(strategy.costs.slippage, VolumeShareSlippage) else 0
    return max(for_signals, for_slippage)
