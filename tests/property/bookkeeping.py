"""A second set of books: a trade's prices, amounts and order, from its candles, its strategy and its events alone.

Written from `docs/engine.md` and not from the engines: every fill's price is derived again (reference price,
limits, triggers, targets, slippage), the cash is counted again, and the events must come in the order of
section 5. Numbers agree to a relative 1e-9.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import pytest

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType, Trade
from quantbot_pipeline.strategy.model import Dip, FixedSlippage, Ladder, Rebound, Strategy

TOLERANCE = 1e-9


def _equals(found: float, expected: float, *, scale: float = 0.0) -> bool:
    return bool(found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE * scale))


def candle_of(event: Event, market: Candles) -> int:
    """Return the candle in which an event happened; events at a close carry the time of that close."""
    at_close = event.event_type in (EventType.FINAL_EXIT, EventType.STOP_MOVED)
    time = event.event_time - (market.interval_seconds if at_close else 0)
    i = int(np.searchsorted(market.timestamp, time))
    assert market.timestamp[i] == time, f"no candle opens at {time}"
    return i


@dataclass
class _Books:
    """What a trade holds and has paid.

    Attributes:
        buys: Of the cycle, as (candle, quantity, price).
        targets: Candle in which each target of the cycle filled, by its number.
        moves: What the cycle's `stop_moved` events said, as (candle, reason, price).
    """

    held: float = 0.0
    bought: float = 0.0
    cost: float = 0.0
    spent: float = 0.0
    received: float = 0.0
    realised: float = 0.0
    buys: list[tuple[int, float, float]] = field(default_factory=list)
    began_inside: bool = False
    targets: dict[int, int] = field(default_factory=dict)
    moves: list[tuple[int, str, float]] = field(default_factory=list)

    def average_before(self, i: int) -> float:
        """Return what targets in candle i are measured from: the average before it, or its own first price."""
        total, average = 0.0, self.buys[0][2]
        for candle, quantity, price in self.buys:
            if candle < i:
                total += quantity
                average += (price - average) * (quantity / total)
        return average


class Accountant:
    """Goes through one trade's events."""

    def __init__(self, trade: Trade, market: Candles, strategy: Strategy) -> None:
        self.trade = trade
        self.market = market
        self.strategy = strategy
        self.books = _Books()
        acts_at = trade.signal_timestamp + strategy.costs.latency_seconds
        self.first = int(np.searchsorted(market.timestamp, acts_at))
        self.first_fill: tuple[int, bool] | None = None

    def check(self) -> None:
        """Check every event of the trade and its totals."""
        trade = self.trade
        for event in trade.events:
            if event.event_type in BUY_EVENTS:
                self._check_buy(event)
            elif event.event_type in SELL_EVENTS:
                self._check_sell(event)
            elif event.event_type is EventType.STOP_MOVED:
                move = (candle_of(event, self.market), event.metadata["reason"], event.price)
                self.books.moves.append(move)
            books = self.books
            remaining = books.held / books.bought if books.held else 0.0
            assert _equals(event.remaining_position, remaining, scale=1e-3)
            assert _equals(event.pnl_so_far, books.realised, scale=max(1.0, books.received, books.spent))
        scale = max(books.received, books.spent)
        assert books.held == 0
        assert _equals(trade.cash_spent, books.spent)
        assert _equals(trade.pnl, books.received - books.spent, scale=scale)
        assert _equals(trade.events[-1].pnl_so_far, trade.pnl, scale=scale)

    def _check_buy(self, event: Event) -> None:
        books, i = self.books, candle_of(event, self.market)
        assert i >= self.first
        assert event.size == self._cash_asked(event)
        raw = self._raw_buy_price(event, i)
        slippage = 0.0 if event.metadata["order"] == "limit" else self._slippage(i, event.size)
        assert _equals(event.price, raw * (1 + slippage)), (event, raw, slippage)
        quantity = event.size / (event.price * (1 + self.strategy.costs.fee))
        at_open = raw == self.market.open[i]
        if books.held == 0:
            self.books = books = _Books(
                spent=books.spent, received=books.received, realised=books.realised, began_inside=not at_open
            )
        if self.first_fill is None:
            self.first_fill = i, not at_open
        books.buys.append((i, quantity, event.price))
        books.held += quantity
        books.bought += quantity
        books.cost += event.size
        books.spent += event.size

    def _check_sell(self, event: Event) -> None:
        books, i = self.books, candle_of(event, self.market)
        quantity = event.size * books.bought
        share = event.size / (books.held / books.bought)
        assert _equals(event.size, self._share_asked(event), scale=1e-3)
        raw = self._raw_sell_price(event, i)
        slippage = 0.0 if event.event_type is EventType.TARGET_HIT else self._slippage(i, quantity * raw)
        assert _equals(event.price, raw * (1 - slippage)), (event, raw, slippage)
        proceeds = quantity * event.price * (1 - self.strategy.costs.fee)
        books.received += proceeds
        books.realised += proceeds - books.cost * share
        books.cost -= books.cost * share
        books.held -= quantity
        if event.event_type is EventType.TARGET_HIT:
            books.targets[event.metadata["target"]] = i
        if event.remaining_position == 0:
            closes = i + 1 if event.event_type is EventType.FINAL_EXIT else i
            self._check_moves(self._stop_after(closes)[2])
            assert abs(books.held) <= TOLERANCE * books.bought
            books.held = books.cost = 0.0

    def _check_moves(self, expected: list[tuple[int, str, float]]) -> None:
        """Check that the cycle told of each arming that raised the stop, and of nothing else."""
        moves = self.books.moves
        assert [move[:2] for move in moves] == [move[:2] for move in expected]
        assert all(_equals(move[2], wanted[2]) for move, wanted in zip(moves, expected, strict=True))

    def _slippage(self, i: int, notional: float) -> float:
        slippage = self.strategy.costs.slippage
        if isinstance(slippage, FixedSlippage):
            return slippage.fraction
        traded = self.market.volume[i - 1] * self.market.close[i - 1] if i else 0.0
        if traded == 0:
            return slippage.cap
        return float(min(slippage.cap, slippage.base + slippage.impact * notional * slippage.capital_quote / traded))

    def _cash_asked(self, event: Event) -> float:
        strategy = self.strategy
        if event.event_type is EventType.SCALE_IN:
            return strategy.scale_in_size
        if event.event_type is EventType.RE_ENTRY:
            assert strategy.re_entry is not None
            return strategy.re_entry.size
        if isinstance(strategy.entry, Ladder):
            return next(leg.size for leg in strategy.entry.legs if leg.id == event.metadata["leg"])
        return 1.0

    def _raw_buy_price(self, event: Event, i: int) -> float:
        opens = float(self.market.open[i])
        order = event.metadata["order"]
        if order == "market":
            assert "gap" not in event.metadata
            return opens
        if order == "stop_buy":
            assert isinstance(self.strategy.entry, Rebound)
            lowest = min([float(self.market.open[self.first]), *self.market.low[self.first : i].tolist()])
            trigger = lowest * (1 + self.strategy.entry.rebound)
            assert event.metadata.get("gap", False) is (opens > trigger)
            assert self.market.high[i] >= trigger
            return max(trigger, opens)
        limit = self._limit(event, i)
        assert event.metadata.get("gap", False) is (opens < limit)
        assert self.market.low[i] <= limit
        return min(limit, opens)

    def _limit(self, event: Event, i: int) -> float:
        entry, re_entry = self.strategy.entry, self.strategy.re_entry
        reference = float(self.market.open[self.first])
        if event.event_type is EventType.RE_ENTRY:
            assert re_entry is not None
            assert self.first_fill is not None
            candle, inside = self.first_fill
            return float(self.market.high[candle + inside : i].max()) * (1 - re_entry.retrace)
        if isinstance(entry, Dip):
            return reference * (1 - entry.drop)
        assert isinstance(entry, Ladder)
        offset = next(leg.offset for leg in entry.legs if leg.id == event.metadata["leg"])
        assert offset is not None
        return reference * (1 + offset)

    def _share_asked(self, event: Event) -> float:
        left = self.books.held / self.books.bought
        if event.event_type is EventType.TARGET_HIT:
            return min(left, self.strategy.exits.targets[event.metadata["target"] - 1].size)
        if event.metadata.get("reason") == "exit_call" and event.remaining_position > 0:
            return self.strategy.exits.scale_out_size
        return left

    def _raw_sell_price(self, event: Event, i: int) -> float:
        opens, books = float(self.market.open[i]), self.books
        if event.event_type is EventType.FINAL_EXIT:
            assert i == len(self.market) - 1
            return float(self.market.close[i])
        if event.event_type is EventType.TARGET_HIT:
            target = self.strategy.exits.targets[event.metadata["target"] - 1]
            price = books.average_before(i) * target.multiple
            assert self.market.high[i] >= price * (1 - TOLERANCE)
            return max(price, opens)
        if event.metadata["order"] == "market":
            return opens
        stop = event.position_state["stop"]
        began_here = books.buys[0][0] == i
        is_gap = event.metadata.get("gap", False)
        assert is_gap is (not began_here and opens <= stop)
        assert self.market.low[i] <= stop
        expected, kind, _ = self._stop_after(i)
        assert event.metadata["stop"] == kind
        assert (event.event_type is EventType.TRAILING_STOP) == (kind == "trailing")
        assert _equals(stop, expected)
        return opens if is_gap else stop

    def _stop_after(self, closes: int) -> tuple[float, str, list[tuple[int, str, float]]]:
        """Return the stop in force after the closes of candles before `closes`, what set it, and the moves told."""
        books, exits, market = self.books, self.strategy.exits, self.market
        began, _, first_price = books.buys[0]
        base = 1 - exits.stop_loss.initial if exits.stop_loss else -np.inf
        stop, kind, peak = first_price * base, "initial", first_price
        armed: set[str] = set()
        moves = []
        for i in range(began, closes):
            average = books.average_before(i + 1)
            if i > began or not books.began_inside:
                peak = max(peak, float(market.high[i]))
            arming = self._arming(i, peak, average) - armed
            armed |= arming
            if not armed:
                stop = average * base
            levels = {
                "break_even": average * (1 + exits.break_even.offset) if exits.break_even else -np.inf,
                "trailing": peak * (1 - exits.trailing.distance) if exits.trailing else -np.inf,
            }
            for reason, level in levels.items():
                if reason in armed:
                    if reason in arming and level > stop:
                        moves.append((i, reason, level))
                    stop, kind = (level, reason) if level >= stop else (stop, kind)
        return stop, kind, moves

    def _arming(self, i: int, peak: float, average: float) -> set[str]:
        """Return which of break-even and trailing have their condition met at the close of candle i."""
        exits, met = self.strategy.exits, set()
        if exits.break_even is not None:
            gain, after = exits.break_even.gain, exits.break_even.after_target
            is_gained = gain is not None and peak >= average * (1 + gain)
            if is_gained or (after is not None and self.books.targets.get(after, i + 1) <= i):
                met.add("break_even")
        if exits.trailing is not None and peak >= average * (1 + exits.trailing.activate_at):
            met.add("trailing")
        return met


def check_money(trade: Trade, market: Candles, strategy: Strategy) -> None:
    """Check prices, slippage, fees, sizes and profit of a trade against books of its own."""
    Accountant(trade, market, strategy).check()


_OPEN_SALE, _OPEN_BUY, _OPEN_SCALE_IN, _GAP_STOP, _GAP_TARGET, _GAP_LIMIT, _GAP_STOP_BUY = range(7)
_INSIDE = 10
_CLOSE = 20


def _steps(event: Event, i: int, market: Candles, strategy: Strategy) -> list[int]:
    """Return the steps of a candle in which an event may happen, in their order (section 5)."""
    kind, is_gap = event.event_type, event.metadata.get("gap", False)
    is_pessimistic = strategy.intrabar == "pessimistic"
    # Inside: pessimistic buys, then stop or targets; optimistic targets, buys, stop.
    inside = {"buy": _INSIDE + 1, "stop": _INSIDE + 2, "target": _INSIDE + (2 if is_pessimistic else 0)}
    if kind in (EventType.TIME_EXIT, EventType.SIGNAL_EXIT):
        return [_OPEN_SALE]
    if kind is EventType.SCALE_IN:
        return [_OPEN_SCALE_IN]
    if kind in (EventType.STOP_LOSS, EventType.TRAILING_STOP):
        return [_GAP_STOP] if is_gap else [inside["stop"]]
    if kind is EventType.STOP_MOVED:
        return [_CLOSE if event.metadata["reason"] == "break_even" else _CLOSE + 1]
    if kind is EventType.FINAL_EXIT:
        return [_CLOSE + 2]
    if event.metadata["order"] == "market":
        return [_OPEN_BUY]
    at_open, later = {
        "target": (_GAP_TARGET, inside["target"]),
        "limit": (_GAP_LIMIT, inside["buy"]),
        "stop_buy": (_GAP_STOP_BUY, inside["buy"]),
    }["target" if kind is EventType.TARGET_HIT else event.metadata["order"]]
    if is_gap:
        return [at_open]
    # An order whose price the open met exactly may look like either.
    return [at_open, later] if event.metadata["order"] == "stop_buy" or event.price == market.open[i] else [later]


def check_order(trade: Trade, market: Candles, strategy: Strategy) -> None:
    """Check seq, times, bounds, and the order of events within each candle."""
    events = trade.events
    assert [event.seq for event in events] == list(range(len(events)))
    times = [event.event_time for event in events]
    assert times == sorted(times)
    assert times[0] >= trade.signal_timestamp
    assert trade.done_at == times[-1]
    assert trade.has_bought or len(events) == 1
    assert (events[0].event_type is EventType.ENTRY) == trade.has_bought
    assert sum(event.event_type is EventType.ENTRY for event in events) == trade.has_bought
    assert trade.max_adverse_excursion <= 0 <= trade.max_favourable_excursion
    for event in events:
        assert 0 <= event.size <= 1 + TOLERANCE
        assert 0 <= event.remaining_position <= 1
        if event.event_type is not EventType.ENTRY_SKIPPED:
            assert event.price > 0
    if trade.has_bought:
        assert events[-1].remaining_position == 0
        for i, of_candle in groupby(events, key=lambda event: candle_of(event, market)):
            _check_candle(list(of_candle), i, market, strategy)
        _check_cycles(trade)


def _check_candle(events: list[Event], i: int, market: Candles, strategy: Strategy) -> None:
    """Check that the events of one candle come in the order of its steps."""
    reached, taken = 0, []
    for event in events:
        possible = [step for step in _steps(event, i, market, strategy) if step >= reached]
        assert possible, f"{event} comes too late in its candle, after {events}"
        reached = possible[0]
        taken.append(reached)
    inside = [event for event, step in zip(events, taken, strict=True) if _INSIDE <= step < _CLOSE]
    kinds = {event.event_type for event in inside}
    if strategy.intrabar == "pessimistic" and EventType.TARGET_HIT in kinds:
        assert not kinds & {EventType.STOP_LOSS, EventType.TRAILING_STOP}
    for ascending in _prices_that_ascend(inside):
        assert ascending == sorted(ascending)
    sold_out = [k for k, event in enumerate(events) if event.event_type in SELL_EVENTS and not event.remaining_position]
    assert sold_out in ([], [len(events) - 1]), "nothing happens in a candle after its cycle ended"


def _prices_that_ascend(inside: list[Event]) -> Iterator[list[float]]:
    """Yield prices that ascend within a candle: those of targets, and the negatives of limit buys."""
    yield [event.price for event in inside if event.event_type is EventType.TARGET_HIT]
    limits = [event for event in inside if event.event_type in BUY_EVENTS and event.metadata["order"] == "limit"]
    yield [-event.price for event in limits]


def _check_cycles(trade: Trade) -> None:
    """Check that cycles are counted, and that targets and armings come once each, in order."""
    cycles = [int(event.position_state["cycle"]) for event in trade.events]
    assert cycles == sorted(cycles)
    assert set(cycles) == set(range(1, cycles[-1] + 1))
    for _, of_cycle in groupby(trade.events, key=lambda event: event.position_state["cycle"]):
        events = list(of_cycle)
        assert events[0].event_type in BUY_EVENTS
        numbers = [event.metadata["target"] for event in events if event.event_type is EventType.TARGET_HIT]
        assert numbers == list(range(1, len(numbers) + 1))
        moves = [event.metadata["reason"] for event in events if event.event_type is EventType.STOP_MOVED]
        assert len(set(moves)) == len(moves)
        assert (events[0].event_type is EventType.RE_ENTRY) == (cycles[0] < events[0].position_state["cycle"])


def check_marks(trade: Trade, market: Candles) -> None:
    """Check that the marks cover every candle from the first buy to the last sell, and end at the result."""
    if not trade.has_bought:
        assert len(trade.mark_timestamp) == 0
        return
    fills = [candle_of(event, market) for event in trade.events if event.event_type is not EventType.STOP_MOVED]
    covered = market.timestamp[fills[0] : fills[-1] + 1]
    assert trade.mark_timestamp.tolist() == covered.tolist()
    assert trade.entered_at == covered[0]
    assert trade.mark_value[-1] == pytest.approx(trade.pnl, rel=1e-12, abs=1e-15)
