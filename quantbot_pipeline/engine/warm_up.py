"""Does a strategy's answer depend on how much history came before a call?

Indicators remember: an average of 200 candles needs 200 of them, an exponential one some thousand until its beginning
no longer shows. Here the candles before a call are taken away, all but some, and the values at the call, the
conditions while its trade lasts, and the trade itself are compared with those on all candles.

History is counted in candles that had closed before the first candle of the call's trade.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.conditions import signal_warm_up
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.indicators import indicator_warm_up, shift
from quantbot_pipeline.engine.lookahead import (
    NOISE_CANDLES,
    NamedIndicator,
    OpenedMarket,
    OpenMarket,
    named_conditions,
    named_indicators,
)
from quantbot_pipeline.engine.reference import is_entry_call, warm_up_candles
from quantbot_pipeline.strategy.model import Strategy

_Item = TypeVar("_Item")

SETTLED = 1e-9
"""Largest relative difference at which a value counts as the same."""

MULTIPLES = (0.5, 1.0, 2.0)
"""Histories that are tried, in multiples of the declared warm-up."""


@dataclass(slots=True)
class IndicatorHistory:
    """How an indicator's value at a call depends on the history before it.

    Attributes:
        declared: Candles before a call that it is declared to need (its shift included).
        histories: Candles before each call that has candles.
        unknown_at_calls: Calls at which it is NaN on all candles.
        unknown_with_history: Those of them that have the declared history: not defined there, whatever came before.
        measured_calls: Calls with enough history to compare with less.
        differences: Largest relative difference at a call, by multiple of the declared warm-up; infinite where a value
            was not known. A multiple is missing where no call has more history than that.
        measured_need: Fewest candles from which on no measured value differed by more than `SETTLED`; None where
            nothing was measured, or where the declared warm-up is not enough.
    """

    declared: int
    histories: list[int] = field(default_factory=list)
    unknown_at_calls: int = 0
    unknown_with_history: int = 0
    measured_calls: int = 0
    differences: dict[float, float] = field(default_factory=dict)
    measured_need: int | None = None

    @property
    def depends_on_history(self) -> bool:
        """Whether more than the declared history changes the value."""
        return any(self.differences.get(multiple, 0.0) > SETTLED for multiple in MULTIPLES if multiple >= 1)

    @property
    def need(self) -> int:
        """Candles before a call that the value needs: as measured, else as declared."""
        return self.declared if self.measured_need is None else self.measured_need

    @property
    def short_calls(self) -> int:
        """Calls with less history than the value needs: not known there, or still settling."""
        return sum(history < self.need for history in self.histories)

    @property
    def is_never_known(self) -> bool:
        """Whether the value is NaN at every call."""
        return bool(self.histories) and self.unknown_at_calls == len(self.histories)


@dataclass(slots=True)
class ConditionHistory:
    """How a condition was decided while trades lasted.

    Attributes:
        declared: Candles before a call that it is declared to need.
        closes: Closes of candles between the first and the last candle of a trade.
        true_closes: Those at which it held.
        unknown_closes: Those at which a value in it was NaN.
        short_calls: Calls with less history than declared.
        calls: Calls that have candles.
    """

    declared: int
    closes: int = 0
    true_closes: int = 0
    unknown_closes: int = 0
    short_calls: int = 0
    calls: int = 0

    @property
    def is_never_known(self) -> bool:
        """Whether a value in it was NaN at every close."""
        return self.closes > 0 and self.unknown_closes == self.closes


@dataclass(slots=True)
class HistoryTrial:
    """What came of leaving so many candles before each call.

    Attributes:
        candles: How many were left.
        calls: Calls that have more than that, and were simulated again with it.
        changed_trades: Those whose trade came out differently.
        closes: Closes at which conditions were compared.
        changed_closes: By path of the condition: closes at which it turned out differently.
    """

    candles: int
    calls: int = 0
    changed_trades: int = 0
    closes: int = 0
    changed_closes: dict[str, int] = field(default_factory=dict)

    @property
    def changes_decisions(self) -> bool:
        """Whether any condition or trade came out differently."""
        return self.changed_trades > 0 or any(self.changed_closes.values())


@dataclass(slots=True)
class WarmUpReport:
    """What shortening the history said.

    Attributes:
        declared: Candles before a call that the strategy as a whole is declared to need.
        calls: Entry calls.
        shortened_calls: Those whose history was shortened.
        calls_without_candles: Those that no candle comes after, or too late a one.
        short_calls: Those with less history than declared.
        indicators: By label.
        conditions: By path.
        trials: By ascending history.
    """

    declared: int
    calls: int = 0
    shortened_calls: int = 0
    calls_without_candles: int = 0
    short_calls: int = 0
    indicators: dict[str, IndicatorHistory] = field(default_factory=dict)
    conditions: dict[str, ConditionHistory] = field(default_factory=dict)
    trials: list[HistoryTrial] = field(default_factory=list)

    @property
    def depends_on_history(self) -> bool:
        """Whether the declared warm-up is not enough for the same values and decisions."""
        return any(found.depends_on_history for found in self.indicators.values()) or any(
            trial.changes_decisions for trial in self.trials if trial.candles >= self.declared
        )

    @property
    def has_never_known(self) -> bool:
        """Whether an indicator is not known at any call, or a condition at any close."""
        return any(found.is_never_known for found in self.indicators.values()) or any(
            found.is_never_known for found in self.conditions.values()
        )


class WarmUpCheck:
    """Shortens the history of calls, token by token, and keeps what each of them says."""

    def __init__(self, strategy: Strategy, open_market: OpenMarket) -> None:
        self._strategy = strategy
        # Each call by itself: a shorter history must not be blamed for trades of earlier calls that are gone with it.
        self._alone = strategy.model_copy(update={"overlap": "independent"})
        self._open_market = open_market
        self._indicators = named_indicators(strategy)
        self._conditions = named_conditions(strategy)
        declared = warm_up_candles(strategy)
        self.report = WarmUpReport(
            declared=declared,
            indicators={named.label: IndicatorHistory(_declared(named)) for named in self._indicators},
            conditions={named.path: ConditionHistory(signal_warm_up(named.node)) for named in self._conditions},
            trials=[
                HistoryTrial(candles, changed_closes={named.path: 0 for named in self._conditions})
                for candles in sorted({0, declared // 2, declared, 2 * declared})
            ],
        )

    def check(self, opened: OpenedMarket, measured: int, on_call: Callable[[], None] = lambda: None) -> None:
        """Count the history of every entry call of one token, and shorten it for up to `measured` of them."""
        trades = {trade.call_id: trade for trade in opened.engine.trades(self._alone)}
        begun: list[tuple[Call, int, int]] = []
        for call in opened.market.calls:
            if not is_entry_call(call):
                continue
            self.report.calls += 1
            first = opened.first_candle(call)
            trade = trades.get(call.call_id)
            if first is None or trade is None or trade.events[-1].metadata.get("reason") == "no_candles":
                self.report.calls_without_candles += 1
                continue
            last = max(first, opened.candle_of(trade.events[-1].event_time - 1))
            begun.append((call, first, last))
        self._count(opened, begun)
        for call, first, last in _spread(begun, measured):
            self.report.shortened_calls += 1
            self._shorten(opened, call, first, last, trades[call.call_id])
            on_call()
        for named in self._indicators:
            self._measure(opened, named, [first for _, first, _ in begun], measured)

    def _count(self, opened: OpenedMarket, begun: Sequence[tuple[Call, int, int]]) -> None:
        self.report.short_calls += sum(first < self.report.declared for _, first, _ in begun)
        for named in self._indicators:
            history = self.report.indicators[named.label]
            values = shift(opened.indicators[named.label], named.shift)
            for _, first, _ in begun:
                history.histories.append(first)
                if first == 0 or math.isnan(values[first - 1]):
                    history.unknown_at_calls += 1
                    history.unknown_with_history += first >= history.declared
        for condition in self._conditions:
            counted = self.report.conditions[condition.path]
            for call, first, last in begun:
                found = opened.conditions_for(call)
                unknown, truth = found.unknown[condition.path], found.truths[condition.path]
                counted.calls += 1
                counted.short_calls += first < counted.declared
                counted.closes += last + 1 - first
                counted.true_closes += int(np.count_nonzero(truth[first : last + 1]))
                counted.unknown_closes += int(np.count_nonzero(unknown[first : last + 1]))

    def _shorten(self, opened: OpenedMarket, call: Call, first: int, last: int, trade: Trade) -> None:
        candles = opened.market.candles
        # Far enough that the trade ends by itself: its horizon candle, and one more.
        horizon = int(candles.timestamp[first]) + self._strategy.horizon_seconds
        stop = min(len(candles), int(np.searchsorted(candles.timestamp, horizon)) + 2)
        # Earlier calls would find other first candles than they had; this one's trade does not need them.
        later = [
            other
            for other in opened.market.calls
            if other is call or (not is_entry_call(other) and other.signal_timestamp >= call.signal_timestamp)
        ]
        for trial in self.report.trials:
            if trial.candles >= first:
                continue
            start = first - trial.candles
            run = self._open_market(candles.slice(start, stop), later)
            trial.calls += 1
            trial.closes += last + 1 - first
            found = opened.conditions_for(call)
            for path, truth in found.truths.items():
                whole = truth[first : last + 1]
                part = run.truth(found.nodes[path])[first - start : last + 1 - start]
                trial.changed_closes[path] += int(np.count_nonzero(whole != part))
            again = next((found for found in run.trades(self._alone) if found.call_id == call.call_id), None)
            trial.changed_trades += again is None or _story(again) != _story(trade)

    def _measure(self, opened: OpenedMarket, named: NamedIndicator, firsts: Sequence[int], measured: int) -> None:
        """Compare the value at calls with that on less history, and search how much it needs."""
        history = self.report.indicators[named.label]
        values = shift(opened.indicators[named.label], named.shift)
        known = [first for first in firsts if first > history.declared and not math.isnan(values[first - 1])]
        if not known:
            return
        magnitude = float(np.nanmedian(np.abs(values)))
        for first in _spread(known, measured):
            whole = float(values[first - 1])

            def difference(candles: int, first: int = first, whole: float = whole) -> float:
                # Later candles stay: a value that looks ahead must not seem to lack history as well.
                left = opened.market.candles.slice(first - candles, first + NOISE_CANDLES)
                part = shift(self._open_market(left, []).indicator(named.operand), named.shift)
                return _relative_difference(whole, float(part[candles - 1]) if candles else math.nan, magnitude)

            history.measured_calls += 1
            for multiple in MULTIPLES:
                candles = int(history.declared * multiple)
                if candles < first:
                    largest = max(history.differences.get(multiple, 0.0), difference(candles))
                    history.differences[multiple] = largest
            if history.depends_on_history:
                history.measured_need = None
                continue
            enough, too_few = history.declared, history.measured_need or 0
            if difference(too_few) <= SETTLED:
                continue
            while enough - too_few > 1:
                middle = (enough + too_few) // 2
                if difference(middle) <= SETTLED:
                    enough = middle
                else:
                    too_few = middle
            history.measured_need = enough


def _declared(named: NamedIndicator) -> int:
    """Return the closed candles that a value needs: those before its candle, and that one."""
    return indicator_warm_up(named.operand.indicator, named.operand.params) + named.shift + 1


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return up to `count` of the items, evenly spread from the first to the last."""
    if len(items) <= count:
        return list(items)
    return [items[k] for k in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int)).tolist()]


def _relative_difference(whole: float, part: float, magnitude: float) -> float:
    """Return the difference against the larger of both values and what is usual for the indicator.

    The usual magnitude keeps a value that happens to be near zero, such as a MACD that changes its sign, from
    counting for more than it is.
    """
    if whole == part or (math.isnan(whole) and math.isnan(part)):
        return 0.0
    if math.isnan(whole) or math.isnan(part):
        return math.inf
    return abs(whole - part) / max(abs(whole), abs(part), magnitude)


def _story(trade: Trade) -> list[str]:
    """Return what happened in a trade, the indicator values that it reports aside."""
    return [repr(replace(event, indicators={})) for event in trade.events]
