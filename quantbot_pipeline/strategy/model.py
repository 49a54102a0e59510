"""The declarative strategy: everything a strategy can say, validated, hashed and published as a schema.

`docs/engine.md` says what each part means in a simulation. Fractions are fractions (0.3 is 30 %), times are
whole seconds and end in `_seconds`, prices are in the candles' quote currency, sizes are fractions of a
trade's capital of 1.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    StrictBool,
    Tag,
    ValidationError,
    model_validator,
)

from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.strategy.faults import read_faults
from quantbot_pipeline.strategy.indicator_catalogue import indicator_label
from quantbot_pipeline.strategy.signals import (
    AllOf,
    AnyOf,
    CandleOperand,
    Condition,
    IndicatorOperand,
    Not,
    ScoreCondition,
    SignalNode,
    StrategyPart,
    walk_indicators,
    walk_score_conditions,
)
from quantbot_pipeline.strategy.values import Fault, Number, Text, Whole, describe, faults_error

__all__ = [
    "AllOf",
    "AnyOf",
    "BreakEven",
    "CandleOperand",
    "Condition",
    "Costs",
    "Dip",
    "Entry",
    "Exits",
    "FixedSlippage",
    "Immediate",
    "IndicatorOperand",
    "Ladder",
    "Leg",
    "Not",
    "ReEntry",
    "Rebound",
    "ScoreCondition",
    "SignalEntry",
    "SignalNode",
    "StopLoss",
    "Strategy",
    "Target",
    "Trailing",
    "VolumeShareSlippage",
    "canonical_json",
    "config_hash",
    "load_strategy",
    "parse_strategy",
    "strategy_json_schema",
]

SIZE_TOLERANCE = 1e-9
"""How far a sum of sizes may lie above 1: rounding of decimal fractions, nothing more."""

SMALLEST_SIZE = 1e-12
"""Sizes below this are zero in the engine, so a document may not ask for one."""

MAX_SIGNAL_DEPTH = 64
"""How deep groups may be nested: far beyond any use, and well below the limits of the JSON readers."""

DESCRIPTIVE_KEYS = frozenset({"name", "version", "category", "description"})
"""Keys that say nothing about what a strategy does; they are not part of its hash."""

Seconds = Annotated[int, Whole()]
Fraction = Annotated[float, Number(gt=0, lt=1)]
Size = Annotated[float, Number(ge=SMALLEST_SIZE, le=1 + SIZE_TOLERANCE)]
OnTimeout = Literal["skip", "market"]
ReEntryReason = Literal["target", "stop", "trailing", "signal", "time"]


def _sizes_at_most_one(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse sizes that sum above 1; the fault names the one that goes beyond."""
    total = 0.0
    for k, part in enumerate(parts):
        total += part.size
        if total > 1 + SIZE_TOLERANCE:
            found = f"{part.size!r}, which brings the sum of sizes to {total:.12g}"
            raise faults_error([Fault(f"[{k}].size", found, "sizes that sum to at most 1")])
    return parts


class Immediate(StrategyPart):
    """Market buy at the open of the first candle."""

    type: Literal["immediate"]


class Dip(StrategyPart):
    """Limit buy below the reference price."""

    type: Literal["dip"]
    drop: Fraction
    max_wait_seconds: Seconds = 3600
    on_timeout: OnTimeout = "skip"


class Rebound(StrategyPart):
    """Stop-buy above the lowest low since the call."""

    type: Literal["rebound"]
    rebound: Annotated[float, Number(gt=0)]
    max_wait_seconds: Seconds = 3600
    on_timeout: OnTimeout = "skip"


class SignalEntry(StrategyPart):
    """Market buy at the open after a signal held at a close."""

    type: Literal["signal"]
    when: SignalNode
    max_wait_seconds: Seconds = 3600
    on_timeout: OnTimeout = "skip"


class Leg(StrategyPart):
    """One part of a ladder: a limit below the reference price, or a signal.

    Attributes:
        id: Its name in events, unique within the ladder.
        size: Cash it spends.
        offset: Its limit is the reference price · (1 + offset); 0 is a market buy at the first open.
        when: Instead of `offset`: it buys at the open after this held.
    """

    id: Annotated[str, Text(min_length=1, max_length=100)]
    size: Size
    offset: Annotated[float, Number(gt=-1, le=0)] | None = None
    when: SignalNode | None = None

    @model_validator(mode="after")
    def _offset_or_when(self) -> "Leg":
        if (self.offset is None) == (self.when is None):
            found = "neither offset nor when" if self.offset is None else "both offset and when"
            raise faults_error([Fault("", found, "exactly one of offset and when")])
        return self


def _check_legs(legs: tuple[Leg, ...]) -> tuple[Leg, ...]:
    if not legs:
        raise faults_error([Fault("", "an empty list", "at least one leg")])
    seen: set[str] = set()
    faults = []
    for k, leg in enumerate(legs):
        if leg.id in seen:
            faults.append(Fault(f"[{k}].id", f"{leg.id!r} again", "an id that no other leg has"))
        seen.add(leg.id)
    if faults:
        raise faults_error(faults)
    _sizes_at_most_one(legs)
    return legs


class Ladder(StrategyPart):
    """Several buys, at once or one after the other."""

    type: Literal["ladder"]
    legs: Annotated[tuple[Leg, ...], AfterValidator(_check_legs)]
    sequential: StrictBool = False
    max_wait_seconds: Seconds = 3600


_ENTRY_TYPES = ("immediate", "dip", "rebound", "signal", "ladder")


def _type_tag(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return f"<{kind}>" if isinstance(kind, str) else None


def _entry_tag(value: Any) -> str | None:
    tag = _type_tag(value)
    return tag if tag in {f"<{name}>" for name in _ENTRY_TYPES} else None


Entry = Annotated[
    Annotated[Immediate, Tag("<immediate>")]
    | Annotated[Dip, Tag("<dip>")]
    | Annotated[Rebound, Tag("<rebound>")]
    | Annotated[SignalEntry, Tag("<signal>")]
    | Annotated[Ladder, Tag("<ladder>")],
    Discriminator(
        _entry_tag,
        custom_error_type="tag_type",
        custom_error_message=f"an entry of type {', '.join(_ENTRY_TYPES)}",
    ),
]


class Target(StrategyPart):
    """A take-profit limit at average entry · multiple that sells `size` of what the cycle bought."""

    multiple: Annotated[float, Number(gt=1)]
    size: Size


def _check_targets(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    faults = [
        Fault(
            f"[{k}].multiple",
            repr(targets[k].multiple),
            f"more than the multiple before, which is {targets[k - 1].multiple!r}",
        )
        for k in range(1, len(targets))
        if targets[k].multiple <= targets[k - 1].multiple
    ]
    if faults:
        raise faults_error(faults)
    _sizes_at_most_one(targets)
    return targets


class StopLoss(StrategyPart):
    """Stop at average entry · (1 - initial)."""

    initial: Fraction


class BreakEven(StrategyPart):
    """Moves the stop to average entry · (1 + offset) after a gain or after a target.

    Attributes:
        gain: Armed once the peak is at least average entry · (1 + gain).
        after_target: Instead of `gain`: armed when this target, counted from 1, filled.
        offset: Where the stop goes, against the average entry.
    """

    gain: Annotated[float, Number(ge=0)] | None = None
    after_target: Annotated[int, Whole(ge=1)] | None = None
    offset: Annotated[float, Number(gt=-1)] = 0.0

    @model_validator(mode="after")
    def _gain_or_target(self) -> "BreakEven":
        if (self.gain is None) == (self.after_target is None):
            found = "neither gain nor after_target" if self.gain is None else "both gain and after_target"
            raise faults_error([Fault("", found, "exactly one of gain and after_target")])
        return self


class Trailing(StrategyPart):
    """Stop at peak · (1 - distance), once the peak is at least average entry · (1 + activate_at)."""

    activate_at: Annotated[float, Number(ge=0)]
    distance: Fraction


class Exits(StrategyPart):
    """When a position is sold.

    Attributes:
        targets: Take-profit limits, ascending.
        stop_loss: Initial stop, or none.
        break_even: When the stop moves to the entry, or never.
        trailing: Trailing stop, or none.
        when: Sells at the open after this signal held.
        max_hold_seconds: Sells at the first open at least this long after a cycle's first buy.
        on_exit_call: Whether exit and scale-out calls of the same caller sell.
        scale_out_size: Share of what the cycle bought that a scale-out call sells.
    """

    targets: Annotated[tuple[Target, ...], AfterValidator(_check_targets)] = ()
    stop_loss: StopLoss | None = None
    break_even: BreakEven | None = None
    trailing: Trailing | None = None
    when: SignalNode | None = None
    max_hold_seconds: Seconds | None = None
    on_exit_call: StrictBool = False
    scale_out_size: Annotated[float, Number(ge=SMALLEST_SIZE, le=1)] = 0.5

    @model_validator(mode="after")
    def _target_exists(self) -> "Exits":
        after = self.break_even.after_target if self.break_even else None
        if after is not None and after > len(self.targets):
            allowed = (
                f"1 to {len(self.targets)}, the number of targets" if self.targets else "gain: there are no targets"
            )
            raise faults_error([Fault(".break_even.after_target", str(after), allowed)])
        return self


_REASON_ORDER: tuple[ReEntryReason, ...] = ("target", "stop", "trailing", "signal", "time")


def _check_reasons(reasons: tuple[ReEntryReason, ...]) -> tuple[ReEntryReason, ...]:
    """Refuse none and duplicates; order does not matter, so it is always the same."""
    if not reasons:
        raise faults_error([Fault("", "an empty list", f"at least one of {', '.join(_REASON_ORDER)}")])
    if len(set(reasons)) < len(reasons):
        raise faults_error([Fault("", describe(list(reasons)), "each reason once")])
    return tuple(reason for reason in _REASON_ORDER if reason in reasons)


class ReEntry(StrategyPart):
    """A limit buy below the highest high after a cycle ended.

    Attributes:
        after: Reasons of a cycle's end that are followed by it.
        retrace: Its limit is the highest high since the first fill · (1 - retrace).
        size: Cash it spends.
        max_count: How many re-entries one trade makes at most.
        max_wait_seconds: How long it rests after the candle in which the cycle ended.
    """

    after: Annotated[tuple[ReEntryReason, ...], AfterValidator(_check_reasons)]
    retrace: Fraction
    size: Annotated[float, Number(ge=SMALLEST_SIZE, le=1)]
    max_count: Annotated[int, Whole(ge=1)] = 1
    max_wait_seconds: Seconds = 3600


class FixedSlippage(StrategyPart):
    """Market and stop orders fill this fraction worse."""

    type: Literal["fixed"]
    fraction: Annotated[float, Number(ge=0, lt=1)]


class VolumeShareSlippage(StrategyPart):
    """Slippage grows with the order's share of the previous candle's quote volume.

    Attributes:
        base: Slippage of an order of no size.
        impact: Slippage added per share 1 of the volume.
        cap: Largest slippage; also that of a candle without volume.
        capital_quote: Capital of one trade in quote currency.
    """

    type: Literal["volume_share"]
    base: Annotated[float, Number(ge=0, lt=1)]
    impact: Annotated[float, Number(ge=0)]
    cap: Annotated[float, Number(ge=0, lt=1)]
    capital_quote: Annotated[float, Number(gt=0)]


def _slippage_tag(value: Any) -> str | None:
    tag = _type_tag(value)
    return tag if tag in {"<fixed>", "<volume_share>"} else None


Slippage = Annotated[
    Annotated[FixedSlippage, Tag("<fixed>")] | Annotated[VolumeShareSlippage, Tag("<volume_share>")],
    Discriminator(
        _slippage_tag,
        custom_error_type="tag_type",
        custom_error_message="a slippage of type fixed, volume_share",
    ),
]


class Costs(StrategyPart):
    """What trading costs.

    Attributes:
        fee: Fraction of every fill's value.
        slippage: How much worse than the raw price market and stop orders fill.
        latency_seconds: Time from a call to the first order.
    """

    fee: Annotated[float, Number(ge=0, lt=1)] = 0.0
    slippage: Slippage = FixedSlippage(type="fixed", fraction=0.0)
    latency_seconds: Seconds = 0


class Strategy(StrategyPart):
    """A whole strategy; `parse_strategy` and `load_strategy` make one.

    Attributes:
        name: Its name; with `version` its identity for people.
        version: Its version.
        category: Free text to group strategies by.
        description: Free text.
        entry: How a call is entered.
        exits: When a position is sold.
        re_entry: Whether the trade buys again after a cycle, or never.
        costs: What trading costs.
        horizon_seconds: The trade ends at the first candle this long after its first candle.
        max_staleness_seconds: A call whose first candle comes later than this is skipped.
        intrabar: What came first inside a candle, where its prices do not tell.
        overlap: What happens to a call while the strategy's earlier trade on the token is not done.
        scale_in_size: Cash that a scale-in call spends.
    """

    name: Annotated[str, Text(min_length=1, max_length=200, is_name=True)]
    version: Annotated[str, Text(min_length=1, max_length=100)] = "1"
    category: Annotated[str, Text(max_length=200)] = ""
    description: Annotated[str, Text()] = ""
    entry: Entry
    exits: Exits = Exits()
    re_entry: ReEntry | None = None
    costs: Costs = Costs()
    horizon_seconds: Annotated[int, Whole(ge=1)] = 604_800
    max_staleness_seconds: Seconds = 86_400
    intrabar: Literal["pessimistic", "optimistic"] = "pessimistic"
    overlap: Literal["independent", "skip", "scale_in"] = "independent"
    scale_in_size: Annotated[float, Number(ge=SMALLEST_SIZE, le=1)] = 0.5

    def signals_by_path(self) -> Iterator[tuple[str, SignalNode]]:
        """Yield every signal tree with its path: those of the entry or its legs, then the exit's."""
        if isinstance(self.entry, SignalEntry):
            yield "entry.when", self.entry.when
        if isinstance(self.entry, Ladder):
            for position, leg in enumerate(self.entry.legs):
                if leg.when is not None:
                    yield f"entry.legs[{position}].when", leg.when
        if self.exits.when is not None:
            yield "exits.when", self.exits.when

    def signals(self) -> Iterator[SignalNode]:
        """Yield every signal tree, in the order of `signals_by_path`."""
        return (signal for _, signal in self.signals_by_path())

    def indicators(self) -> dict[str, IndicatorOperand]:
        """Return every indicator output that the strategy names, by its label, shifts left aside."""
        return {
            indicator_label(operand.indicator, operand.params, operand.field or ""): operand
            for signal in self.signals()
            for operand in walk_indicators(signal)
        }

    def score_conditions(self) -> tuple[ScoreCondition, ...]:
        """Return every condition on a score, in the order of the signals."""
        return tuple(condition for signal in self.signals() for condition in walk_score_conditions(signal))

    def score_names(self) -> tuple[str, ...]:
        """Return the names of the models whose scores the strategy reads, sorted, each once."""
        return tuple(sorted({condition.score for condition in self.score_conditions()}))


_PARTS: dict[str, type[BaseModel]] = {
    "": Strategy,
    "<immediate>": Immediate,
    "<dip>": Dip,
    "<rebound>": Rebound,
    "<signal>": SignalEntry,
    "<ladder>": Ladder,
    "legs": Leg,
    "exits": Exits,
    "targets": Target,
    "stop_loss": StopLoss,
    "break_even": BreakEven,
    "trailing": Trailing,
    "re_entry": ReEntry,
    "costs": Costs,
    "<fixed>": FixedSlippage,
    "<volume_share>": VolumeShareSlippage,
    "<all>": AllOf,
    "<any>": AnyOf,
    "<not>": Not,
    "<score>": ScoreCondition,
    "<condition>": Condition,
    "<indicator>": IndicatorOperand,
    "<candle>": CandleOperand,
}


def _refuse_deep_nesting(document: object, source: str) -> None:
    """Refuse documents that are nested too deep, before anything walks them recursively."""
    limit = 2 * MAX_SIGNAL_DEPTH + 10
    level: list[object] = [document]
    for _ in range(limit):
        level = [
            child
            for node in level
            if isinstance(node, Mapping | list | tuple)
            for child in (node.values() if isinstance(node, Mapping) else node)
            if isinstance(child, Mapping | list | tuple)
        ]
        if not level:
            return
    raise StrategyError(
        f"{source}: found a document nested deeper than {limit} levels, "
        f"allowed are signal groups nested {MAX_SIGNAL_DEPTH} deep"
    )


def parse_strategy(document: Mapping[str, Any], *, source: str = "strategy") -> Strategy:
    """Return the strategy that a document describes.

    Args:
        document: As read from JSON.
        source: Where it comes from, for messages: a file name or the like.

    Raises:
        StrategyError: something in it is not allowed; every fault has a line with its path, what was found
            and what is allowed.
    """
    if not isinstance(document, Mapping):
        raise StrategyError(f"{source}: found {describe(document)}, allowed is an object")
    _refuse_deep_nesting(document, source)
    try:
        return Strategy.model_validate(document)
    except ValidationError as error:
        faults = read_faults(error.errors(include_url=False), _PARTS)
    lines = [f"{fault.path}: found {fault.found}, allowed {fault.allowed}" for fault in faults]
    if len(lines) == 1:
        raise StrategyError(f"{source}: {lines[0]}")
    head = f"{source}: {len(lines)} faults, the first at {faults[0].path}"
    raise StrategyError("\n".join([head, *(f"  {line}" for line in lines)]))


_JSON_TEXT_OR_LITERAL = re.compile(r'"(?:\\.|[^"\\])*"|NaN|-?Infinity')


def _position(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    return f"line {line}, column {column}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise StrategyError(f"found the key {key!r} twice in one object, allowed is each key once")
        found[key] = value
    return found


def load_strategy(path: Path) -> Strategy:
    """Return the strategy of a JSON file.

    Raises:
        StrategyError: the file is missing, is not JSON (with line and column), says a key twice, holds NaN or
            Infinity, or is refused by `parse_strategy`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StrategyError(f"{path}: can't be read: {error.strerror}; give a JSON file") from error
    except UnicodeDecodeError as error:
        raise StrategyError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    try:
        document = json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise StrategyError(f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
    except StrategyError as error:
        raise StrategyError(f"{path}: {error}") from error
    except RecursionError as error:
        raise StrategyError(f"{path}: nested too deep to be read as JSON") from error
    except ValueError as error:
        raise StrategyError(f"{path}: not JSON: {error}") from error
    # Only in what is JSON otherwise: in any other file these are words.
    for match in _JSON_TEXT_OR_LITERAL.finditer(text):
        if not match.group().startswith('"'):
            where = _position(text, match.start())
            raise StrategyError(f"{path}: {where}: found {match.group()}, allowed are finite numbers")
    return parse_strategy(document, source=str(path))


def canonical_json(strategy: Strategy) -> str:
    """Return the canonical text of what a strategy does.

    Keys are sorted, defaults filled in, floats written in their shortest round-trip form, and name, version,
    category and description left out: two documents that mean the same give the same text.
    """
    document = strategy.model_dump(mode="json", by_alias=True, exclude=set(DESCRIPTIVE_KEYS))
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(strategy: Strategy) -> str:
    """Return the SHA-256 of `canonical_json`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(strategy).encode()).hexdigest()


def strategy_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a strategy document; `docs/strategy.schema.json` is its copy.

    The schema knows every key, type and bound. What ties several values together (sums of sizes, ascending
    targets, `min_true` within `lookback` and the like) only `parse_strategy` checks; `null` in place of a
    value that may be left out is accepted by `parse_strategy` everywhere.
    """
    schema = Strategy.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
