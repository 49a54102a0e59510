"""What a random case exercises, as labels: parts of the config space, kinds of candles and calls, events.

The labels that must occur are read off the strategy model, the indicator catalogue and the event types, so that
what is added there and never drawn is missed; the reasons and order kinds are those of `docs/engine.md`.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel
from strategy_space import DAY, Case

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.conditions import SignalEvaluator
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType, Trade
from quantbot_pipeline.engine.score_conditions import score_truths
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS
from quantbot_pipeline.strategy.model import Ladder, Strategy
from quantbot_pipeline.strategy.signals import (
    CandleOperand,
    Condition,
    IndicatorOperand,
    Persistent,
    SignalNode,
    StrategyPart,
    walk_conditions,
    walk_score_conditions,
)


def _options(annotation: Any) -> Iterator[object]:
    """Yield the values that a field may take where they can be listed: literals and booleans."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif annotation is bool:
        yield from (False, True)
    else:
        for inside in get_args(annotation):
            yield from _options(inside)


def _parts() -> Iterator[type[BaseModel]]:
    """Yield every class that a strategy document is made of."""
    waiting: list[type[BaseModel]] = [StrategyPart]
    while waiting:
        part = waiting.pop()
        waiting += part.__subclasses__()
        if part not in (StrategyPart, Persistent):
            yield part


def config_space() -> Iterator[str]:
    """Yield a label for every key that a strategy may set, every option of it, every indicator output and operand."""
    for part in _parts():
        for name, field in part.model_fields.items():
            yield f"{part.__name__}.{name}"
            yield from (f"{part.__name__}.{name} = {option}" for option in _options(field.annotation))
    for name, specification in INDICATORS.items():
        yield from (f"{name}.{parameter}" for parameter in specification.parameters)
        for output in specification.fields:
            yield from (f"{name}.{output} {said}" for said in ("compared", "true", "false", "unknown"))


def labels_of_strategy(value: object) -> Iterator[str]:
    """Yield the labels of all keys that a parsed strategy, or a part of one, sets itself."""
    if isinstance(value, tuple):
        for member in value:
            yield from labels_of_strategy(member)
    if not isinstance(value, BaseModel):
        return
    kind = type(value).__name__
    for name in value.model_fields_set:
        inside = getattr(value, name)
        yield f"{kind}.{name}"
        for option in inside if isinstance(inside, tuple) else (inside,):
            if isinstance(option, str | bool):
                yield f"{kind}.{name} = {option}"
        yield from labels_of_strategy(inside)
    if isinstance(value, IndicatorOperand):
        yield from (f"{value.indicator}.{parameter}" for parameter in value.params)


def _operands(condition: Condition) -> Iterator[IndicatorOperand | CandleOperand]:
    for operand in (condition.left, condition.right):
        if not isinstance(operand, float):
            yield operand


def labels_of_signals(strategy: Strategy, market: Candles) -> Iterator[str]:
    """Yield what the conditions on each indicator output said somewhere on the candles."""
    evaluator = SignalEvaluator(market)
    for signal in strategy.signals():
        yield from _labels_of_nesting(signal, depth=0)
        if list(walk_score_conditions(signal)):
            yield f"signal with a score and {'candles' if list(walk_conditions(signal)) else 'no candles'}"
        for condition in walk_conditions(signal):
            crossing = "crossing " if condition.op.startswith("crosses") else ""
            shifted = [operand.shift > 0 for operand in _operands(condition)]
            yield f"{crossing}condition on {'a shifted' if any(shifted) else 'an unshifted'} operand"
            if isinstance(condition.right, float):
                yield "condition on a number"
            holds = evaluator.evaluate(condition)
            for operand in _operands(condition):
                if isinstance(operand, IndicatorOperand):
                    label = f"{operand.indicator}.{operand.field}"
                    unknown = np.isnan(evaluator.indicator(operand))
                    yield f"{label} compared"
                    yield from (f"{label} true" for _ in range(bool(holds.any())))
                    yield from (f"{label} false" for _ in range(bool((~holds & ~unknown).any())))
                    yield from (f"{label} unknown" for _ in range(bool(unknown.any())))


def _labels_of_nesting(node: SignalNode, *, depth: int) -> Iterator[str]:
    inside = node.member if hasattr(node, "member") else getattr(node, "members", ())
    members = inside if isinstance(inside, tuple) else (inside,)
    for member in members:
        yield f"{type(member).__name__} in {type(node).__name__}"
        if type(node).__name__ == "Not" and member.lookback > 1:
            yield "Not around persistence"
        yield from _labels_of_nesting(member, depth=depth + 1)
    if not members:
        yield f"depth {depth}"


NESTING = {
    *(
        f"{member} in {group}"
        for member in ("Condition", "ScoreCondition", "AllOf", "AnyOf", "Not")
        for group in ("AllOf", "AnyOf", "Not")
    ),
    *(f"depth {depth}" for depth in range(4)),
    "Not around persistence",
    "condition on a number",
    "condition on a shifted operand",
    "condition on an unshifted operand",
    "crossing condition on a shifted operand",
}


def labels_of_scores(strategy: Strategy, calls: Sequence[Call]) -> Iterator[str]:
    """Yield what conditions on scores said of the calls, and for what kind of strategy they said different things."""
    conditions = strategy.score_conditions()
    said = {score_truths(conditions, call) for call in calls if call.signal_type is SignalType.ENTRY}
    for truth in {truth for truths in said for truth in truths}:
        yield f"condition on a score: {truth}"
    if len(said) > 1:
        yield f"scores tell calls apart, {strategy.overlap} overlap"


SCORES = {
    "signal with a score and candles",
    "signal with a score and no candles",
    *(f"condition on a score: {truth}" for truth in (True, False, None)),
    *(f"scores tell calls apart, {overlap} overlap" for overlap in ("independent", "skip", "scale_in")),
}


def labels_of_choices(strategy: Strategy) -> Iterator[str]:
    """Yield what matters of a strategy beyond the keys it sets."""
    exits, entry = strategy.exits, strategy.entry
    total = sum(target.size for target in exits.targets)
    if exits.targets:
        yield "targets sell all" if total >= 1 - 1e-12 else "targets leave a rest"
        yield f"targets: {len(exits.targets)}"
    if strategy.exits.model_fields_set <= {"targets", "scale_out_size", "on_exit_call"} and not exits.targets:
        yield "no exit of its own"
    if getattr(entry, "max_wait_seconds", None) == 0:
        yield f"no wait: {entry.type}"
    if isinstance(entry, Ladder):
        order = "sequential" if entry.sequential else "together"
        for k, leg in enumerate(entry.legs):
            kind = "when" if leg.when is not None else "market" if leg.offset == 0 else "limit"
            yield f"{order} {'first' if k == 0 else 'later'} leg: {kind}"
    if strategy.re_entry is not None and strategy.re_entry.max_count > 1:
        yield "several re-entries allowed"
    yield f"{entry.type} entry, {strategy.overlap} overlap"
    yield f"{entry.type} entry, {strategy.intrabar}"
    if strategy.costs.fee > 0 and strategy.costs.latency_seconds > 0:
        yield "fee and latency"


_ENTRIES = ("immediate", "dip", "rebound", "signal", "ladder")

CHOICES = {
    "targets sell all",
    "targets leave a rest",
    *(f"targets: {count}" for count in range(1, 5)),
    "no exit of its own",
    *(f"no wait: {entry}" for entry in _ENTRIES[1:]),
    *(
        f"{order} {place} leg: {kind}"
        for order in ("sequential", "together")
        for place in ("first", "later")
        for kind in ("when", "market", "limit")
    ),
    "several re-entries allowed",
    "fee and latency",
    *(f"{entry} entry, {overlap} overlap" for entry in _ENTRIES for overlap in ("independent", "skip", "scale_in")),
    *(f"{entry} entry, {intrabar}" for entry in _ENTRIES for intrabar in ("pessimistic", "optimistic")),
}


def labels_of_market(market: Candles) -> Iterator[str]:
    """Yield what kind of candles these are."""
    steps = np.diff(market.timestamp)
    first, last = int(market.timestamp[0]), int(market.timestamp[-1])
    still = (market.high == market.low) & (np.concatenate([[market.open[0]], market.close[:-1]]) == market.close)
    lowest, highest = float(market.low.min()), float(market.high.max())
    jumps = market.open[1:] / market.close[:-1]
    ranges = market.high / market.low
    kinds = {
        "one candle": len(market) == 1,
        "hundreds of candles": len(market) >= 100,
        "gap": bool((steps > market.interval_seconds).any()),
        "gap of a day": bool((steps > DAY).any()),
        "off the grid": bool((steps % market.interval_seconds).any()),
        "flat stretch": "11111" in "".join(str(int(flag)) for flag in still),
        "spike": bool((ranges > 1000).any()),
        "jump up": bool((jumps > 9).any()),
        "jump down": bool((jumps < 1 / 9).any()),
        "tiny price": lowest < 1e-11,
        "huge price": highest > 1e8,
        "candle without volume": bool((market.volume == 0).any()),
        "midnight": first // DAY < last // DAY,
        "several days": last // DAY - first // DAY >= 2,
        "prices on a coarse grid": bool((np.round(market.close * 16) == market.close * 16).all()),
    }
    return (kind for kind, is_so in kinds.items() if is_so)


def labels_of_calls(calls: Sequence[Call], market: Candles) -> Iterator[str]:
    """Yield what kinds of calls these are, and how they lie in time."""
    times = [call.signal_timestamp for call in calls]
    for call in calls:
        yield f"{call.side} {call.signal_type} call"
    kinds = {
        "one call": len(calls) == 1,
        "several calls": len(calls) >= 4,
        "several callers": len({call.caller_id for call in calls}) > 1,
        "same second": len(set(times)) < len(times),
        "same second and caller": len({(call.caller_id, call.signal_timestamp) for call in calls}) < len(calls),
        "call before the candles": min(times) < market.timestamp[0],
        "call long before the candles": min(times) < market.timestamp[0] - 3600,
        "call after the candles": max(times) > market.timestamp[-1],
        "call at an open": bool(np.isin(times, market.timestamp).any()),
        "call between opens": not np.isin(times, market.timestamp).all(),
        "ids against time": any(
            a.call_id > b.call_id for a, b in pairwise(sorted(calls, key=lambda c: c.signal_timestamp))
        ),
    }
    yield from (kind for kind, is_so in kinds.items() if is_so)


MARKETS = {
    *("one candle", "hundreds of candles", "gap", "gap of a day", "off the grid", "flat stretch", "spike"),
    *("jump up", "jump down", "tiny price", "huge price", "candle without volume", "midnight", "several days"),
    "prices on a coarse grid",
}

CALLS = {
    *(f"{side} {signal_type} call" for side in Side for signal_type in SignalType),
    *("one call", "several calls", "several callers", "same second", "same second and caller"),
    *("call before the candles", "call long before the candles", "call after the candles"),
    *("call at an open", "call between opens", "ids against time"),
}


def label_of_event(event: Event) -> str:
    """Return an event's type with what its metadata says of order, gap and reason."""
    metadata = event.metadata
    said = [metadata[key] for key in ("order", "stop", "reason") if key in metadata]
    said += ["gap"] if metadata.get("gap") else []
    return " ".join([event.event_type.value, *said])


EVENTS = {
    "entry market",
    "entry market timeout",
    "entry limit",
    "entry limit gap",
    "entry stop_buy",
    "entry stop_buy gap",
    "ladder_entry market",
    "ladder_entry limit",
    "ladder_entry limit gap",
    "scale_in market scale_in_call",
    "re_entry limit",
    "re_entry limit gap",
    "target_hit limit",
    "target_hit limit gap",
    *(f"stop_loss stop {kind}{gap}" for kind in ("initial", "break_even") for gap in ("", " gap")),
    "trailing_stop stop trailing",
    "trailing_stop stop trailing gap",
    "signal_exit market signal",
    "signal_exit market exit_call",
    "time_exit market horizon",
    "time_exit market max_hold",
    "final_exit market end_of_data",
    "stop_moved break_even",
    "stop_moved trailing",
    *(
        f"entry_skipped {reason}"
        for reason in ("no_candles", "overlap", "nothing_to_scale", "timeout", "horizon", "end_of_data")
    ),
}


def labels_of_trade(trade: Trade) -> Iterator[str]:
    """Yield the labels of a trade's events, and of what followed what."""
    events = trade.events
    yield from (label_of_event(event) for event in events)
    for event in events:
        if event.event_type is EventType.SIGNAL_EXIT and event.remaining_position > 0:
            yield "part sold by a call"
        if event.position_state.get("cycle", 0) > 2:
            yield "third cycle"
        if event.event_type is EventType.TARGET_HIT:
            yield f"target {event.metadata['target']}"
    for before, after in pairwise(events):
        if after.event_type is EventType.RE_ENTRY:
            yield f"re_entry after {before.event_type}"
        if before.event_time == after.event_time and after.event_type is not EventType.STOP_MOVED:
            kind = "stop" if "stop" in after.event_type else after.event_type.value
            if before.event_type in BUY_EVENTS and after.event_type in SELL_EVENTS:
                yield f"{kind} in the candle of a buy"
            if before.event_type is EventType.TARGET_HIT and after.event_type in BUY_EVENTS:
                yield "buy after a target in its candle"
            if before.event_type is EventType.TARGET_HIT and kind == "stop":
                yield "stop after a target in its candle"
            if before.event_type is EventType.STOP_MOVED and after.event_type in SELL_EVENTS:
                yield "sale in the candle after the stop moved"


SEQUENCES = {
    *(
        f"re_entry after {reason}"
        for reason in ("target_hit", "stop_loss", "trailing_stop", "signal_exit", "time_exit")
    ),
    *(f"target {number}" for number in range(1, 5)),
    "part sold by a call",
    "third cycle",
    "stop in the candle of a buy",
    "target_hit in the candle of a buy",
    "buy after a target in its candle",
    "stop after a target in its candle",
    "sale in the candle after the stop moved",
}


def labels_of_case(case: Case, trades: Sequence[Trade]) -> Iterator[str]:
    """Yield everything that a case and its trades exercise, repetitions included."""
    strategy = case.strategy
    yield from labels_of_strategy(strategy)
    yield from labels_of_signals(strategy, case.market)
    yield from labels_of_scores(strategy, case.calls)
    yield from labels_of_choices(strategy)
    yield from labels_of_market(case.market)
    yield from labels_of_calls(case.calls, case.market)
    for trade in trades:
        yield from labels_of_trade(trade)


def expected_labels() -> set[str]:
    """Return every label that the random cases must reach."""
    return {*config_space(), *NESTING, *SCORES, *CHOICES, *MARKETS, *CALLS, *EVENTS, *SEQUENCES}
