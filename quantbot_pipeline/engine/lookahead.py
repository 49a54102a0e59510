"""Does a strategy know the future? Checks of an engine on a user's own strategy, candles and calls.

Candles after a *cut* are taken away, or replaced by noise, and everything is computed again. Whatever was decided
by the candles up to the cut must stay as it is: every indicator value, every condition and every part of every event,
exactly. Beside the cut stands half a candle: the one after it keeps its open and loses the rest, so that a market
order that already knows the close of the candle in which it fills is found too. Cutting between candles alone can not
see that: such an order is gone together with the candle that it knows too well.

A check of this kind finds leaks, it can't prove that there are none; the report says how much was compared. What the
answer owes to the candles *before* a call is checked by `quantbot_pipeline.engine.warm_up`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import BoolArray, Candles, FloatArray
from quantbot_pipeline.engine.conditions import SignalEvaluator
from quantbot_pipeline.engine.events import Event, EventType, Trade
from quantbot_pipeline.engine.indicators import shift
from quantbot_pipeline.engine.reference import is_entry_call, simulate_reference
from quantbot_pipeline.engine.score_conditions import Truths, bind_scores, score_truths, unscored
from quantbot_pipeline.strategy.indicator_catalogue import indicator_label
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.strategy.signals import (
    AllOf,
    AnyOf,
    CandleOperand,
    Condition,
    IndicatorOperand,
    Not,
    ScoreCondition,
    SignalNode,
    walk_indicators,
)

FORCED_REASONS = frozenset({"end_of_data", "no_candles"})
"""Reasons of events that say where the candles ended, not what the market did."""

NOISE_CANDLES = 256
"""Candles of another future; a leak that reaches further is found by taking the future away."""

Experiment = Literal["cut", "noise"]


class MarketUnderTest(Protocol):
    """An engine, opened on the candles and calls of one token: what the checks ask it for."""

    def indicator(self, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator output at each close, its shift left aside, shape (n,)."""
        ...

    def truth(self, signal: SignalNode) -> BoolArray:
        """Return whether a condition or group holds at each close, shape (n,)."""
        ...

    def trades(self, strategy: Strategy) -> list[Trade]:
        """Return the trades of the calls, with their events."""
        ...


OpenMarket = Callable[[Candles, Sequence[Call]], MarketUnderTest]
"""Opens an engine on candles (0 or more) and calls (0 or more)."""


class ReferenceMarket:
    """The reference engine under test."""

    def __init__(self, candles: Candles, calls: Sequence[Call]) -> None:
        self._candles = candles
        self._calls = calls
        self._evaluator = SignalEvaluator(candles)

    def indicator(self, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator output at each close, its shift left aside."""
        return self._evaluator.indicator(operand)

    def truth(self, signal: SignalNode) -> BoolArray:
        """Return whether a condition or group holds at each close."""
        return self._evaluator.evaluate(signal)

    def trades(self, strategy: Strategy) -> list[Trade]:
        """Return the trades of the calls."""
        return simulate_reference(self._candles, self._calls, strategy)


@dataclass(frozen=True, slots=True)
class Market:
    """One token to check on.

    Attributes:
        token: Its name in the report.
        candles: One interval, valid, at least one.
        calls: Calls on it, ids unique.
    """

    token: str
    candles: Candles
    calls: tuple[Call, ...]


# What a strategy names


@dataclass(frozen=True, slots=True)
class NamedIndicator:
    """An indicator output that a strategy uses.

    Attributes:
        label: As in events, such as `macd(fast=12,signal=9,slow=26).line`.
        operand: One of the operands that name it.
        shift: Largest shift with which it is used, candles.
    """

    label: str
    operand: IndicatorOperand
    shift: int


@dataclass(frozen=True, slots=True)
class NamedCondition:
    """A condition of a strategy, or a whole signal of several.

    Attributes:
        path: Where it stands in the document, such as `exits.when.any[0]`.
        text: What it says, such as `rsi(period=14) crosses below 70`.
        node: The condition, or the signal's topmost group.
    """

    path: str
    text: str
    node: SignalNode


def named_indicators(strategy: Strategy) -> list[NamedIndicator]:
    """Return every indicator output that a strategy uses, once each."""
    found: dict[str, NamedIndicator] = {}
    for signal in strategy.signals():
        for operand in walk_indicators(signal):
            label = indicator_label(operand.indicator, operand.params, operand.field or "")
            shift = max(operand.shift, found[label].shift if label in found else 0)
            found[label] = NamedIndicator(label, operand, shift)
    return list(found.values())


def named_conditions(strategy: Strategy) -> list[NamedCondition]:
    """Return every condition of a strategy by its path, each signal's group before its members."""
    named: list[NamedCondition] = []
    for path, signal in strategy.signals_by_path():
        if not isinstance(signal, Condition | ScoreCondition):
            named.append(NamedCondition(path, f"the whole signal{_persistence(signal)}", signal))
        named += _conditions_below(path, signal)
    return named


def _conditions_below(path: str, node: SignalNode) -> Iterator[NamedCondition]:
    if isinstance(node, ScoreCondition):
        yield NamedCondition(path, f"score {node.score} {node.op} {node.right:g}{_persistence(node)}", node)
    elif isinstance(node, Condition):
        operator = node.op.replace("_", " ")
        text = f"{_operand_text(node.left)} {operator} {_operand_text(node.right)}{_persistence(node)}"
        yield NamedCondition(path, text, node)
    elif isinstance(node, Not):
        yield from _conditions_below(f"{path}.not", node.member)
    else:
        key = "all" if isinstance(node, AllOf) else "any"
        for position, member in enumerate(node.members):
            yield from _conditions_below(f"{path}.{key}[{position}]", member)


def _operand_text(operand: IndicatorOperand | CandleOperand | float) -> str:
    if isinstance(operand, IndicatorOperand):
        text = indicator_label(operand.indicator, operand.params, operand.field or "")
    elif isinstance(operand, CandleOperand):
        text = operand.candle
    else:
        return f"{operand:g}"
    return f"{text} shift {operand.shift}" if operand.shift else text


def _persistence(node: SignalNode) -> str:
    return f", {node.min_true} of last {node.lookback}" if node.lookback > 1 else ""


# Which events the candles up to a cut decide


def is_forced_by_the_data(event: Event) -> bool:
    """Return whether an event says that the candles ended, not what the market did."""
    return (
        event.event_type is EventType.FINAL_EXIT
        or event.metadata.get("reason") in FORCED_REASONS
        or (event.metadata.get("reason") == "nothing_to_scale" and math.isnan(event.price))
    )


def events_known_at_close(trades: Sequence[Trade], candles: Candles, cut: int) -> list[Event]:
    """Return the events that candles 0 … cut alone decide.

    Those are the events before the close of candle `cut`, and stops moved at that close. What else carries the
    close's time happens at an open that nobody has seen yet. Events that the end of the data forces are left
    out: without the later candles there are others of them.

    Args:
        trades: Of one token.
        candles: Of this token; at least `cut + 1`.
        cut: Index of the last candle that is known.
    """
    closes_at = int(candles.timestamp[cut]) + candles.interval_seconds
    return [
        event
        for trade in trades
        for event in trade.events
        if (
            event.event_time < closes_at or (event.event_time == closes_at and event.event_type is EventType.STOP_MOVED)
        )
        and not is_forced_by_the_data(event)
    ]


def events_known_at_open(trades: Sequence[Trade], candles: Candles, opened: int) -> list[Event]:
    """Return the events that candles 0 … opened - 1 and the open of candle `opened` decide.

    At that open market orders fill, resting orders that the open passed fill (`gap`), and waits end. Orders that
    are touched inside the candle carry the same time and are not known yet.

    Args:
        trades: Of one token.
        candles: Of this token; at least `opened + 1`.
        opened: Index of the candle of which the open alone is known.
    """
    opens_at = int(candles.timestamp[opened])
    return [
        event
        for trade in trades
        for event in trade.events
        if not is_forced_by_the_data(event)
        and (event.event_time < opens_at or (event.event_time == opens_at and _is_decided_by_the_open(event)))
    ]


def _is_decided_by_the_open(event: Event) -> bool:
    return (
        event.event_type in (EventType.STOP_MOVED, EventType.ENTRY_SKIPPED)
        or event.metadata.get("order") == "market"
        or bool(event.metadata.get("gap"))
    )


# The check


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that changed with the candles after it.

    Attributes:
        token: The token.
        candle_at: Open time of the candle whose value (at its close) or event changed, seconds, UTC.
        cut_at: Open time of the last candle that was left as it is, seconds, UTC.
        experiment: Whether the candles after the cut were taken away, or replaced by noise.
        with_future: The value with the candles as they are.
        without_future: The value without those after the cut.
        candles_ahead: How many candles beyond its own the value must have looked, at least; 0 for an event at the
            open that knew the rest of its own candle.
    """

    token: str
    candle_at: int
    cut_at: int
    experiment: Experiment
    with_future: str
    without_future: str
    candles_ahead: int


@dataclass(slots=True)
class Causality:
    """What cutting said about one indicator, one condition, or the events.

    Attributes:
        compared: Values or events that were compared, over all cuts and both experiments.
        known: Those of them that were known: a value that is NaN wherever it was compared shows nothing.
        differing_cuts: Cuts at which at least one differed.
        first: The earliest difference found; None where there is none.
        candles_ahead: The farthest look ahead that was seen, candles, at least.
    """

    compared: int = 0
    known: int = 0
    differing_cuts: int = 0
    first: Difference | None = None
    candles_ahead: int = 0

    @property
    def looks_ahead(self) -> bool:
        """Whether any value depended on later candles."""
        return self.first is not None

    @property
    def is_shown(self) -> bool:
        """Whether anything was compared that could have differed."""
        return self.known > 0 or self.looks_ahead

    def add(self, compared: int, known: int, differences: Collection[Difference]) -> None:
        """Take in what one cut of one token showed."""
        self.compared += compared
        self.known += known
        if not differences:
            return
        self.differing_cuts += 1
        for difference in differences:
            self.candles_ahead = max(self.candles_ahead, difference.candles_ahead)
            if self.first is None or difference.candle_at < self.first.candle_at:
                self.first = difference


@dataclass(slots=True)
class CausalityReport:
    """What cutting the candles said.

    Attributes:
        cuts: How many cuts were made, over all tokens.
        indicators: By label.
        conditions: By path.
        events: The decisions of the trades: everything of an event except the indicator values that it reports.
        reported_values: The indicator values that events report.
    """

    cuts: int = 0
    indicators: dict[str, Causality] = field(default_factory=dict)
    conditions: dict[str, Causality] = field(default_factory=dict)
    events: Causality = field(default_factory=Causality)
    reported_values: Causality = field(default_factory=Causality)

    @property
    def looks_ahead(self) -> bool:
        """Whether anything depended on later candles."""
        return any(
            found.looks_ahead
            for found in (*self.indicators.values(), *self.conditions.values(), self.events, self.reported_values)
        )

    @property
    def compared(self) -> int:
        """How many values and events were compared."""
        parts = (*self.indicators.values(), *self.conditions.values(), self.events)
        return sum(part.compared for part in parts)

    @property
    def has_compared_nothing(self) -> bool:
        """Whether there was nothing known to compare, so that nothing is shown."""
        return not any(found.is_shown for found in (*self.indicators.values(), *self.conditions.values(), self.events))


@dataclass(frozen=True, slots=True)
class OpenedConditions:
    """What the conditions of a strategy say at each close, for calls of which the conditions on scores say the same.

    Attributes:
        nodes: By path: the condition, with constants in the place of scores.
        truths: By path: whether it holds at each close.
        unknown: By path: at which closes a value in it is NaN.
    """

    nodes: Mapping[str, SignalNode]
    truths: Mapping[str, BoolArray]
    unknown: Mapping[str, BoolArray]


class OpenedMarket:
    """One token with everything computed on all of its candles: what the experiments are compared with."""

    def __init__(self, market: Market, strategy: Strategy, open_market: OpenMarket) -> None:
        self.market = market
        self.strategy = strategy
        self.engine = open_market(market.candles, market.calls)
        self.indicators = {named.label: self.engine.indicator(named.operand) for named in named_indicators(strategy)}
        self.trades = self.engine.trades(strategy)
        self._score_conditions = strategy.score_conditions()
        said = {score_truths(self._score_conditions, call) for call in market.calls if is_entry_call(call)}
        nothing: Truths = (None,) * len(self._score_conditions)
        # In a fixed order, whatever that of the set.
        ordered = sorted(said or {nothing}, key=repr)
        self._conditions = {truths: self._opened(bind_scores(strategy, truths)) for truths in ordered}

    @property
    def conditions(self) -> list[OpenedConditions]:
        """What the conditions say; once, or where there are scores once for everything that these say of any call."""
        return list(self._conditions.values())

    def conditions_for(self, call: Call) -> OpenedConditions:
        """Return what the conditions say for an entry call."""
        return self._conditions[score_truths(self._score_conditions, call)]

    def _opened(self, bound: Strategy) -> OpenedConditions:
        nodes = {named.path: named.node for named in named_conditions(bound)}
        return OpenedConditions(
            nodes=nodes,
            truths={path: self.engine.truth(node) for path, node in nodes.items()},
            unknown={path: self._unknown(node) for path, node in nodes.items()},
        )

    def _unknown(self, node: SignalNode) -> BoolArray:
        """Return at which closes a value in a condition is NaN; for a group, one in each of its members."""
        if isinstance(node, Not):
            return self._unknown(node.member)
        if isinstance(node, AllOf | AnyOf):
            members: BoolArray = np.logical_and.reduce([self._unknown(member) for member in node.members])
            return members
        unknown = np.zeros(len(self.market.candles), dtype=bool)
        if isinstance(node, ScoreCondition):
            node = unscored(node)
        if isinstance(node.right, float):
            # Of a bound condition on a score that is not known.
            unknown |= math.isnan(node.right)
        for operand in (node.left, node.right):
            if isinstance(operand, IndicatorOperand):
                values: FloatArray = shift(self.engine.indicator(operand), operand.shift)
                unknown |= np.isnan(values)
                if node.op.startswith("crosses"):
                    unknown |= np.isnan(shift(values, 1))
        return unknown

    def candle_of(self, time: int) -> int:
        """Return the index of the last candle that opens at or before a time; -1 before the first."""
        return int(np.searchsorted(self.market.candles.timestamp, time, side="right")) - 1

    def first_candle(self, call: Call) -> int | None:
        """Return the index of the first candle at or after a call and its latency; None after the last."""
        at = call.signal_timestamp + self.strategy.costs.latency_seconds
        first = int(np.searchsorted(self.market.candles.timestamp, at))
        return first if first < len(self.market.candles) else None


def choose_cuts(opened: OpenedMarket, count: int, rng: np.random.Generator) -> list[int]:
    """Return the candles after which to cut, where a leak shows best.

    A value that knows one candle too many changes only at the very end of what is left, and only where the next candle
    matters. So cuts lie in turns around the first candles of calls, around events, around closes at which a condition
    turns true or false, and anywhere.

    Args:
        opened: The token.
        count: How many at most; fewer where there are fewer places.
        rng: Chooses among places.

    Returns:
        Indices in [0, n - 2], ascending.
    """
    last = len(opened.market.candles) - 2
    if last < 0:
        return []
    firsts = [first for call in opened.market.calls if (first := opened.first_candle(call)) is not None]
    happened = [opened.candle_of(event.event_time) for trade in opened.trades for event in trade.events]
    pools = [_around(firsts), _around(happened)]
    truths = [truth for conditions in opened.conditions for truth in conditions.truths.values()]
    pools += [_around(np.flatnonzero(np.diff(truth.astype(np.int8))) + 1) for truth in truths]
    pools.append(np.arange(last + 1))
    orders = []
    for pool in pools:
        inside = pool[(pool >= 0) & (pool <= last)]
        # No more of a pool is ever drawn than cuts are made, the doubles among pools aside.
        orders.append(iter(rng.permutation(inside)[: 4 * count].tolist()))
    chosen: set[int] = set()
    while orders and len(chosen) < count:
        for order in list(orders):
            cut = next((cut for cut in order if cut not in chosen), None)
            if cut is None:
                orders.remove(order)
            elif len(chosen) < count:
                chosen.add(cut)
    return sorted(chosen)


def _around(places: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return each place with the candle before and the candle after it."""
    centres = np.asarray(places, dtype=np.int64)
    return np.unique(np.concatenate([centres - 1, centres, centres + 1]))


def with_other_future(candles: Candles, cut: int, rng: np.random.Generator) -> Candles:
    """Return candles 0 … cut followed by noise, at most `NOISE_CANDLES` of it.

    Times stay, and so does the open of candle cut + 1. Everything else after the cut is a random walk with wild
    steps, up or down, that starts at that open.

    Args:
        candles: Valid; more than `cut + 1`.
        cut: Index of the last candle that stays.
        rng: Source of the noise.
    """
    stop = min(len(candles), cut + 1 + NOISE_CANDLES)
    n = stop - cut - 1
    spread = rng.choice([0.01, 0.05, 0.2])
    walk = np.cumsum(rng.normal(rng.choice([-1.0, 1.0]) * spread / 4, spread, n))
    close = candles.open[cut + 1] * np.exp(np.clip(walk, -20.0, 20.0))
    open_ = np.concatenate([candles.open[cut + 1 : cut + 2], close[:-1]])
    high = np.maximum(open_, close) * (1.0 + np.abs(rng.normal(0.0, spread, n)))
    low = np.minimum(open_, close) / (1.0 + np.abs(rng.normal(0.0, spread, n)))
    volume = (candles.volume[: cut + 1].mean() + 1.0) * rng.exponential(1.0, n)
    kept = candles.slice(0, cut + 1)
    return Candles(
        candles.interval_seconds,
        candles.timestamp[:stop],
        np.concatenate([kept.open, open_]),
        np.concatenate([kept.high, high]),
        np.concatenate([kept.low, low]),
        np.concatenate([kept.close, close]),
        np.concatenate([kept.volume, volume]),
    )


class CausalityCheck:
    """Cuts tokens one after the other, and keeps what each of them says."""

    def __init__(self, strategy: Strategy, open_market: OpenMarket, seed: int) -> None:
        self._strategy = strategy
        self._open_market = open_market
        self._seed = seed
        self._indicators = named_indicators(strategy)
        self.report = CausalityReport(
            indicators={named.label: Causality() for named in self._indicators},
            conditions={named.path: Causality() for named in named_conditions(strategy)},
        )

    def check(self, opened: OpenedMarket, cut_count: int, on_cut: Callable[[], None] = lambda: None) -> None:
        """Cut the candles of one token at up to `cut_count` places; `on_cut` is called after each."""
        # The token's name, not its position: the same token is cut at the same places beside any others.
        rng = np.random.default_rng([self._seed, *opened.market.token.encode()])
        for cut in choose_cuts(opened, cut_count, rng):
            self._check_cut(opened, cut, rng)
            self.report.cuts += 1
            on_cut()

    def _check_cut(self, opened: OpenedMarket, cut: int, rng: np.random.Generator) -> None:
        market = opened.market
        next_open = int(market.candles.timestamp[cut + 1])
        calls = [call for call in market.calls if call.signal_timestamp <= next_open]
        runs: dict[Experiment, MarketUnderTest] = {
            "cut": self._open_market(market.candles.slice(0, cut + 1), calls),
            "noise": self._open_market(with_other_future(market.candles, cut, rng), calls),
        }
        for named in self._indicators:
            computed = {experiment: run.indicator(named.operand) for experiment, run in runs.items()}
            values = opened.indicators[named.label]
            known = int(np.count_nonzero(~np.isnan(values[: cut + 1])))
            self._compare_values(self.report.indicators[named.label], opened, values, computed, (cut, known))
        for conditions in opened.conditions:
            for path, truth in conditions.truths.items():
                evaluated = {experiment: run.truth(conditions.nodes[path]) for experiment, run in runs.items()}
                known = int(np.count_nonzero(~conditions.unknown[path][: cut + 1]))
                self._compare_values(self.report.conditions[path], opened, truth, evaluated, (cut, known))
        self._compare_events(opened, {experiment: run.trades(self._strategy) for experiment, run in runs.items()}, cut)

    def _compare_values(
        self,
        causality: Causality,
        opened: OpenedMarket,
        whole: FloatArray | BoolArray,
        computed: Mapping[Experiment, FloatArray | BoolArray],
        cut_and_known: tuple[int, int],
    ) -> None:
        cut, known = cut_and_known
        timestamp = opened.market.candles.timestamp
        differences = []
        for experiment, values in computed.items():
            i = _first_difference(whole[: cut + 1], values[: cut + 1])
            if i is not None:
                difference = Difference(
                    token=opened.market.token,
                    candle_at=int(timestamp[i]),
                    cut_at=int(timestamp[cut]),
                    experiment=experiment,
                    with_future=_value_text(whole[i]),
                    without_future=_value_text(values[i]) if i < len(values) else "nothing",
                    candles_ahead=cut + 1 - i,
                )
                differences.append(difference)
        causality.add(len(computed) * (cut + 1), len(computed) * known, differences)

    def _compare_events(self, opened: OpenedMarket, trades: Mapping[Experiment, list[Trade]], cut: int) -> None:
        candles = opened.market.candles
        compared = 0
        decided: list[Difference] = []
        reported: list[Difference] = []
        for experiment, found in trades.items():
            if experiment == "cut":
                whole = events_known_at_close(opened.trades, candles, cut)
                part = events_known_at_close(found, candles, cut)
            else:
                whole = events_known_at_open(opened.trades, candles, cut + 1)
                part = events_known_at_open(found, candles, cut + 1)
            compared += len(whole)
            ours = {(event.call_id, event.seq): event for event in whole}
            theirs = {(event.call_id, event.seq): event for event in part}
            for key in sorted(ours.keys() | theirs.keys()):
                one, other = ours.get(key), theirs.get(key)
                if one == other or repr(one) == repr(other):
                    continue
                event = one or other
                assert event is not None  # noqa: S101 - the key is of one of them
                i = opened.candle_of(event.event_time)
                bare_one, bare_other = _without_indicators(one), _without_indicators(other)
                is_decision = repr(bare_one) != repr(bare_other)
                difference = Difference(
                    token=opened.market.token,
                    candle_at=int(candles.timestamp[max(i, 0)]),
                    cut_at=int(candles.timestamp[cut]),
                    experiment=experiment,
                    with_future=_event_text(one) if is_decision else _indicators_text(one),
                    without_future=_event_text(other) if is_decision else _indicators_text(other),
                    candles_ahead=max(cut + 1 - i, 0),
                )
                (decided if is_decision else reported).append(difference)
        self.report.events.add(compared, compared, decided)
        self.report.reported_values.add(compared, compared, reported)


def _first_difference(whole: FloatArray | BoolArray, part: FloatArray | BoolArray) -> int | None:
    """Return the first index at which bits differ, or a value is missing; two NaN are equal."""
    if len(part) < len(whole):
        return len(part)
    if np.array_equal(whole, part, equal_nan=whole.dtype.kind == "f"):
        return None
    differs = whole != part
    if whole.dtype.kind == "f":
        differs &= ~(np.isnan(whole) & np.isnan(part))
    return int(np.argmax(differs))


def _value_text(value: np.generic) -> str:
    plain = value.item()
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return "not known" if math.isnan(plain) else repr(plain)


def _without_indicators(event: Event | None) -> Event | None:
    return None if event is None else replace(event, indicators={})


def _event_text(event: Event | None) -> str:
    if event is None:
        return "no such event"
    return f"{event.event_type} of call {event.call_id} at {event.price:.6g}, size {event.size:.4g}"


def _indicators_text(event: Event | None) -> str:
    values = {} if event is None else event.indicators
    return ", ".join(f"{label} {value!r}" for label, value in values.items())
