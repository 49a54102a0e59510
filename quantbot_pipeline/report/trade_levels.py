"""Prices that waited during a trade: resting buys, the stop with all its moves, targets, the average entry.

Events tell when orders filled and when the stop was armed. What lies between, such as a trailing stop that rises with
every high, follows from the candles by the rules of docs/engine.md, sections 5 and 6; this module applies them anew.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType
from quantbot_pipeline.report.trade_content import TradeContent
from quantbot_pipeline.strategy.model import Dip, Exits, Ladder, Rebound, Strategy

# The engine's promise for recomputed numbers; a stop that differs by more is not the one of the run.
_RELATIVE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Level:
    """A price that held from its first step to `until`.

    Attributes:
        name: What it is, such as `target 1`.
        steps: From when on which price, seconds and quote currency, oldest first; at least one.
        until: When it ended, seconds.
    """

    name: str
    steps: tuple[tuple[int, float], ...]
    until: int


@dataclass(slots=True)
class TradeLevels:
    """All prices that waited.

    Attributes:
        stops: One per cycle that had a stop.
        targets: One per target and cycle.
        averages: The average entry, one per cycle.
        orders: Resting buys: a dip's limit, a rebound's trigger, legs of a ladder, re-entries.
        is_consistent: Whether the stops are those that the events tell of. They are not where candles were imported
            anew after the run, or where an older engine computed it.
    """

    stops: list[Level] = field(default_factory=list)
    targets: list[Level] = field(default_factory=list)
    averages: list[Level] = field(default_factory=list)
    orders: list[Level] = field(default_factory=list)
    is_consistent: bool = True


def is_at_close(event: Event) -> bool:
    """Return whether an event happened at the close of its candle, which has the time of the next one's open."""
    return event.event_type in (EventType.STOP_MOVED, EventType.FINAL_EXIT) or (
        event.event_type is EventType.ENTRY_SKIPPED and event.metadata.get("reason") == "end_of_data"
    )


def trade_levels(content: TradeContent) -> TradeLevels:
    """Return all prices that waited during a trade; none without candles."""
    levels = TradeLevels()
    if not len(content.candles):
        return levels
    market = _Market(content)
    by_cycle: dict[int, list[Event]] = defaultdict(list)
    for event in content.events:
        if "cycle" in event.position_state:
            by_cycle[int(event.position_state["cycle"])].append(event)
    for number, events in sorted(by_cycle.items()):
        _CycleLevels(market, content.strategy.exits, events, number).add_to(levels)
    levels.orders = [*_entry_orders(market, content), *_re_entry_orders(market, content, by_cycle)]
    return levels


class _Market:
    """The candles as lists, and where events lie on them."""

    def __init__(self, content: TradeContent) -> None:
        candles = content.candles
        self.time: list[int] = candles.timestamp.tolist()
        self.open: list[float] = candles.open.tolist()
        self.high: list[float] = candles.high.tolist()
        self.low: list[float] = candles.low.tolist()
        self.interval = candles.interval_seconds

    def candle_of(self, event: Event) -> int:
        """Return the position of the candle in which an event happened; of the one before where it is not stored."""
        at = event.event_time - self.interval if is_at_close(event) else event.event_time
        return max(bisect_right(self.time, at) - 1, 0)

    def close_time(self, i: int) -> int:
        return self.time[i] + self.interval

    def began_inside(self, event: Event) -> bool:
        """Return whether a buy filled inside its candle, not at the open."""
        if event.metadata.get("order") not in ("limit", "stop_buy") or event.metadata.get("gap"):
            return False
        return self.open[self.candle_of(event)] != event.price


class _CycleLevels:
    """Walks through the candles of one cycle as the engine does at every close (docs/engine.md, section 5, step 4)."""

    def __init__(self, market: _Market, exits: Exits, events: Sequence[Event], number: int) -> None:
        self._market, self._exits, self._number = market, exits, number
        self._by_candle: dict[int, list[Event]] = defaultdict(list)
        for event in events:
            self._by_candle[market.candle_of(event)].append(event)
        first, last = events[0], events[-1]
        self._first = first
        self._began_in = market.candle_of(first)
        is_over = last.remaining_position <= 0
        self._last = market.candle_of(last) if is_over else len(market.time) - 1
        self._ended_at = last.event_time if is_over else market.close_time(self._last)
        self._average = self._peak = first.price
        self._stop = None if exits.stop_loss is None else first.price * (1 - exits.stop_loss.initial)
        self._is_break_even_armed = self._is_trailing_armed = False
        self._targets_hit: dict[int, int] = {}

    def add_to(self, levels: TradeLevels) -> None:
        """Walk from the first buy to the last sell, and add what waited."""
        market, began_at = self._market, self._first.event_time
        stops: list[tuple[int, float | None]] = [(began_at, self._stop)]
        averages, followed = [(began_at, self._average)], [(began_at, self._average)]
        for i in range(self._began_in, self._last + 1):
            at_close = [event for event in self._by_candle[i] if is_at_close(event)]
            inside = [event for event in self._by_candle[i] if not is_at_close(event)]
            for event in inside:
                levels.is_consistent &= self._is_told(event)
                if event.event_type in BUY_EVENTS:
                    self._average = event.position_state["average_entry"]
                    averages.append((event.event_time, self._average))
                if event.event_type is EventType.TARGET_HIT:
                    self._targets_hit[int(event.metadata["target"])] = event.event_time
            if i == self._last and any(event.remaining_position <= 0 for event in inside):
                break
            self._close(i)
            moved = [event for event in at_close if event.event_type is EventType.STOP_MOVED]
            if moved:
                levels.is_consistent &= self._is_told(moved[-1])
            stops.append((market.close_time(i), self._stop))
            followed.append((market.close_time(i), self._average))
        self._add(levels, stops, averages, followed)

    def _close(self, i: int) -> None:
        """Move peak and stop at the close of candle i."""
        high, exits, average = self._market.high[i], self._exits, self._average
        if not (i == self._began_in and self._market.began_inside(self._first)):
            self._peak = max(self._peak, high)
        break_even, trailing = exits.break_even, exits.trailing
        if break_even is not None:
            self._is_break_even_armed |= (
                break_even.after_target in self._targets_hit
                if break_even.gain is None
                else self._peak >= average * (1 + break_even.gain)
            )
        if trailing is not None:
            self._is_trailing_armed |= self._peak >= average * (1 + trailing.activate_at)
        if not (self._is_break_even_armed or self._is_trailing_armed):
            if exits.stop_loss is not None:
                self._stop = average * (1 - exits.stop_loss.initial)
            return
        if break_even is not None and self._is_break_even_armed:
            self._raise_to(average * (1 + break_even.offset))
        if trailing is not None and self._is_trailing_armed:
            self._raise_to(self._peak * (1 - trailing.distance))

    def _raise_to(self, level: float) -> None:
        self._stop = level if self._stop is None else max(self._stop, level)

    def _is_told(self, event: Event) -> bool:
        """Return whether an event tells of the stop that was found; where it does not, the event is right."""
        told = event.position_state.get("stop")
        stop = None if told is None or math.isnan(told) else told
        if stop == self._stop:
            return True
        is_near = (
            stop is not None and self._stop is not None and abs(stop - self._stop) <= _RELATIVE_TOLERANCE * abs(stop)
        )
        if not is_near:
            self._stop = stop
        return is_near

    def _add(
        self,
        levels: TradeLevels,
        stops: Sequence[tuple[int, float | None]],
        averages: Sequence[tuple[int, float]],
        followed: Sequence[tuple[int, float]],
    ) -> None:
        cycle = "" if self._number == 1 else f", cycle {self._number}"
        known = _changes([(at, stop) for at, stop in stops if stop is not None and at <= self._ended_at])
        if known:
            levels.stops.append(Level(f"stop{cycle}", known, self._ended_at))
        levels.averages.append(Level(f"average entry{cycle}", _changes(averages), self._ended_at))
        for number, target in enumerate(self._exits.targets, start=1):
            until = self._targets_hit.get(number, self._ended_at)
            steps = [(at, average * target.multiple) for at, average in followed if at < until or at == followed[0][0]]
            levels.targets.append(Level(f"target {number}{cycle}", _changes(steps), until))


def _entry_orders(market: _Market, content: TradeContent) -> list[Level]:
    """Return the resting buys of the entry, from the trade's first candle until they filled or were cancelled."""
    strategy, entry = content.strategy, content.strategy.entry
    start = bisect_left(market.time, content.call.signal_at + strategy.costs.latency_seconds)
    never_waited = content.skip_reason in ("no_candles", "overlap", "nothing_to_scale")
    if start >= len(market.time) or never_waited or not isinstance(entry, Dip | Rebound | Ladder):
        return []
    reference, began_at = market.open[start], market.time[start]
    last = bisect_right(market.time, began_at + entry.max_wait_seconds) - 1
    given_up = min(market.close_time(last), content.events[-1].event_time)
    bought = next((event for event in content.events if event.event_type in BUY_EVENTS), None)
    until = given_up if bought is None else min(given_up, bought.event_time)
    if isinstance(entry, Dip):
        return [Level(f"limit, {entry.drop:.0%} below the call", ((began_at, reference * (1 - entry.drop)),), until)]
    if isinstance(entry, Rebound):
        steps, lowest = [(began_at, reference * (1 + entry.rebound))], reference
        for i in range(start, last):
            if market.close_time(i) > until:
                break
            lowest = min(lowest, market.low[i])
            steps.append((market.close_time(i), lowest * (1 + entry.rebound)))
        return [Level(f"stop-buy, {entry.rebound:.0%} above the low", _changes(steps), until)]
    return _ladder_orders(content, entry, reference, began_at, given_up)


def _ladder_orders(content: TradeContent, entry: Ladder, reference: float, began_at: int, given_up: int) -> list[Level]:
    filled = {str(event.metadata["leg"]): event.event_time for event in content.events if "leg" in event.metadata}
    flat = next(
        (e.event_time for e in content.events if e.event_type in SELL_EVENTS and e.remaining_position <= 0), None
    )
    given_up = given_up if flat is None else min(given_up, flat)
    levels: list[Level] = []
    armed_at: int | None = began_at
    for leg in entry.legs:
        rests_at = armed_at if entry.sequential else began_at
        armed_at = None if leg.id not in filled else filled[leg.id] + content.candles.interval_seconds
        until = filled.get(leg.id, given_up)
        # A leg without distance is a market order at the first open; later ones rest at the reference price.
        is_market = leg.offset == 0 and rests_at == began_at
        if rests_at is None or leg.offset is None or is_market or rests_at > until:
            continue
        levels.append(Level(f"leg {leg.id}, {leg.size:.0%}", ((rests_at, reference * (1 + leg.offset)),), until))
    return levels


def _re_entry_orders(market: _Market, content: TradeContent, by_cycle: dict[int, list[Event]]) -> list[Level]:
    """Return the limits that waited between the end of a cycle and the next one, or until the wait was over."""
    re_entry = content.strategy.re_entry
    if re_entry is None or not by_cycle:
        return []
    cycles = [events for _, events in sorted(by_cycle.items())]
    first = cycles[0][0]
    counts_from = market.candle_of(first) + (1 if market.began_inside(first) else 0)
    levels: list[Level] = []
    for k, events in enumerate(cycles):
        last = events[-1]
        if k >= re_entry.max_count or last.remaining_position > 0 or _end_reason(last) not in re_entry.after:
            continue
        ended_in = market.candle_of(last)
        final = bisect_right(market.time, market.time[ended_in] + re_entry.max_wait_seconds) - 1
        horizon = bisect_left(market.time, _horizon_time(market, content.strategy, content.call.signal_at))
        filled_at = cycles[k + 1][0].event_time if k + 1 < len(cycles) else None
        steps: list[tuple[int, float]] = []
        highest = max(market.high[counts_from : ended_in + 1], default=0.0)
        for i in range(ended_in + 1, min(final + 1, horizon, len(market.time))):
            if i > ended_in + 1:
                highest = max(highest, market.high[i - 1])
            if filled_at is not None and market.time[i] > filled_at:
                break
            if highest > 0:
                steps.append((market.time[i], highest * (1 - re_entry.retrace)))
        if steps:
            until = filled_at if filled_at is not None else max(steps[-1][0], steps[0][0]) + market.interval
            levels.append(Level(f"re-entry limit, {re_entry.size:.0%}", _changes(steps), until))
    return levels


def _horizon_time(market: _Market, strategy: Strategy, signal_at: int) -> int:
    start = bisect_left(market.time, signal_at + strategy.costs.latency_seconds)
    return (market.time[start] if start < len(market.time) else signal_at) + strategy.horizon_seconds


def _end_reason(event: Event) -> str:
    """Return why a cycle ended, in the words of a strategy's `re_entry.after`."""
    if event.event_type is EventType.TIME_EXIT and event.metadata.get("reason") != "max_hold":
        return ""
    return {
        EventType.TARGET_HIT: "target",
        EventType.STOP_LOSS: "stop",
        EventType.TRAILING_STOP: "trailing",
        EventType.SIGNAL_EXIT: "signal",
        EventType.TIME_EXIT: "time",
    }.get(event.event_type, "")


def _changes(steps: Sequence[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """Return the steps that change the price; of several at one time the last."""
    kept: list[tuple[int, float]] = []
    for at, price in steps:
        if kept and kept[-1][0] == at:
            kept.pop()
        if not kept or kept[-1][1] != price:
            kept.append((at, price))
    return tuple(kept)
