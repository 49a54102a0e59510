"""One trade as it is drawn: its call, its candles, what happened, and what the strategy looked at. No I/O."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.events import BUY_EVENTS, Event, EventType
from quantbot_pipeline.engine.indicators import compute_indicator
from quantbot_pipeline.strategy.indicator_catalogue import indicator_label
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.strategy.signals import IndicatorOperand, walk_conditions

MOST_CANDLES = 2_000
"""Candles that a chart holds at most; of more, neighbours are put together."""

# Lengths of drawn candles that people know, seconds; beyond the last, whole days.
_USUAL_SECONDS = (1, 5, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 28800, 43200, 86400)


@dataclass(frozen=True, slots=True)
class TradedCall:
    """The call that a trade is of.

    Attributes:
        call_id: Its id.
        caller_source: Where its caller is from.
        caller_handle: Who made it; empty when the call was not published yet.
        chain: Of the token.
        token_address: Of the token.
        symbol: Ticker, when known.
        signal_at: When it was made, seconds since the epoch, UTC.
    """

    call_id: int
    caller_source: str
    caller_handle: str
    chain: str
    token_address: str
    symbol: str | None
    signal_at: int

    @property
    def caller(self) -> str:
        """Who called, as `source/handle`."""
        return f"{self.caller_source}/{self.caller_handle}" if self.caller_handle else "(not published yet)"

    @property
    def token(self) -> str:
        """The token as `chain:address`."""
        return f"{self.chain}:{self.token_address}"


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorLine:
    """One output of an indicator that the strategy names, on the drawn candles.

    Attributes:
        label: As in events, such as `macd(fast=12,signal=9,slow=26).line`.
        indicator: Name in the catalogue.
        output: Which of its outputs; `value` where there is one.
        values: One per candle of the trade, at its close; NaN where it is not known. Shape (n_candles,).
        thresholds: Numbers that the strategy compares it with.
    """

    label: str
    indicator: str
    output: str
    values: FloatArray
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class TradeContent:
    """Everything that is drawn and told of one trade.

    Attributes:
        call: The call.
        strategy_name: Name of the strategy version.
        strategy_version: Its version.
        strategy: The configuration that the run simulated.
        run_id: The run.
        run_type: backtest, optimization, what_if or live_eval.
        is_current: Whether no later run took the run's place.
        data_quality: Verdict on the candles that the run read: unknown, good, gaps, stale or sparse.
        candles: Stored candles around the trade, of the interval that the run read; empty when none are stored.
        events: What happened, in order of `seq`; at least one.
        indicators: What the strategy looks at, computed on the candles and those before them.
    """

    call: TradedCall
    strategy_name: str
    strategy_version: str
    strategy: Strategy
    run_id: int
    run_type: str
    is_current: bool
    data_quality: str
    candles: Candles
    events: tuple[Event, ...]
    indicators: tuple[IndicatorLine, ...] = ()

    @property
    def has_bought(self) -> bool:
        """Whether the trade bought at least once; a skipped call did not."""
        return any(event.event_type in BUY_EVENTS for event in self.events)

    @property
    def pnl(self) -> float:
        """Realised result after the last event, fraction of the trade's capital."""
        return self.events[-1].pnl_so_far

    @property
    def skip_reason(self) -> str:
        """Why nothing was bought, such as `no_candles`; empty for a trade that bought."""
        return "" if self.has_bought else str(self.events[-1].metadata.get("reason", "unknown"))


@dataclass(frozen=True, slots=True, eq=False)
class DrawnCandles:
    """Candles as they are drawn, each of one or more stored ones.

    Attributes:
        candles: What is drawn: the first one's open, the last one's close, the extremes, the sum of volumes.
        last: Position of the last stored candle in each, int64, shape (n_drawn,).
        stored_seconds: Length of a stored candle.
    """

    candles: Candles
    last: IntArray
    stored_seconds: int

    @property
    def is_sampled(self) -> bool:
        """Whether a drawn candle may hold several stored ones."""
        return self.candles.interval_seconds > self.stored_seconds

    def place(self, seconds: int, *, at_close: bool = False) -> int:
        """Return the opening time of the drawn candle in which something happened, seconds.

        Args:
            seconds: When it happened.
            at_close: Whether that is the close of the candle in which it happened, which is the next one's open.
        """
        at = seconds - 1 if at_close else seconds
        k = int(np.searchsorted(self.candles.timestamp, at, side="right")) - 1
        if k < 0 or at >= self.candles.timestamp[k] + self.candles.interval_seconds:
            return at
        return int(self.candles.timestamp[k])


@dataclass(slots=True)
class EventRow:
    """One row of the event table, in words and numbers.

    Attributes:
        seq: Number of the event, from 0; the markers of the chart carry it.
        at: Seconds since the epoch, UTC.
        kind: What happened, such as `target hit`.
        price: Execution price, the new stop, or the reference price; None where there is none.
        size: Cash spent by a buy, share of what was bought for a sell, None for what trades nothing.
        remaining: Open share of what the cycle bought, after the event.
        stop: Stop in force after the event; None without one.
        pnl_so_far: Realised result after the event, fraction of the trade's capital.
        why: Order, reason, leg, target and gap in words.
        indicators: Values at the last closed candle, by label.
    """

    seq: int
    at: int
    kind: str
    price: float | None
    size: float | None
    remaining: float
    stop: float | None
    pnl_so_far: float
    why: str
    indicators: Mapping[str, float | None] = field(default_factory=dict)


def event_rows(content: TradeContent) -> list[EventRow]:
    """Return the event table: the chart in words, for those who can't see it and those who look closely."""
    return [
        EventRow(
            seq=event.seq,
            at=event.event_time,
            kind="re-entry" if event.event_type is EventType.RE_ENTRY else event.event_type.replace("_", " "),
            price=_finite(event.price),
            size=event.size if event.size > 0 else None,
            remaining=event.remaining_position,
            stop=_finite(event.position_state.get("stop")),
            pnl_so_far=event.pnl_so_far,
            why=reason_text(event.metadata),
            indicators={label: _finite(value) for label, value in event.indicators.items()},
        )
        for event in content.events
    ]


def reason_text(metadata: Mapping[str, Any]) -> str:
    """Return an event's metadata in words, such as `stop order, initial stop, at a gap`."""
    words = []
    if "order" in metadata:
        words.append(f"{str(metadata['order']).replace('_', ' ')} order")
    if "stop" in metadata:
        words.append(f"{str(metadata['stop']).replace('_', ' ')} stop")
    if "target" in metadata:
        words.append(f"target {metadata['target']}")
    if "leg" in metadata:
        # The leg's name is the user's: it stays as it is.
        words.append(f"leg {metadata['leg']}")
    if "reason" in metadata:
        words.append(str(metadata["reason"]).replace("_", " "))
    words += [f"by call {metadata[key]}" for key in ("exit_call_id", "scale_in_call_id") if key in metadata]
    if metadata.get("gap"):
        words.append("at a gap")
    return ", ".join(words)


def indicator_lines(strategy: Strategy, candles: Candles, first: int) -> tuple[IndicatorLine, ...]:
    """Return what a strategy looks at, by the engine's own functions.

    Args:
        strategy: Whose signals.
        candles: Candles with those of the warm-up before the drawn ones.
        first: Position of the first drawn candle; the lines begin there.
    """
    compared: dict[str, set[float]] = {}
    for signal in strategy.signals():
        for condition in walk_conditions(signal):
            if isinstance(condition.left, IndicatorOperand) and isinstance(condition.right, int | float):
                compared.setdefault(_label(condition.left), set()).add(float(condition.right))
    computed: dict[str, dict[str, FloatArray]] = {}
    lines = []
    for label, operand in strategy.indicators().items():
        whole = label.removesuffix(f".{operand.field}")
        if whole not in computed:
            computed[whole] = compute_indicator(candles, operand.indicator, operand.params)
        output = operand.field or "value"
        lines.append(
            IndicatorLine(
                label,
                operand.indicator,
                output,
                computed[whole][output][first:],
                tuple(sorted(compared.get(label, ()))),
            )
        )
    return tuple(lines)


def draw_candles(candles: Candles, most: int = MOST_CANDLES) -> DrawnCandles:
    """Return at most so many candles: several neighbours in one where there are more.

    Neighbours are those within the same stretch of time, so that gaps stay gaps; stretches are of a usual length.
    """
    stored = candles.interval_seconds
    seconds = stored
    every = np.arange(len(candles), dtype=np.int64)
    if len(candles) <= most:
        return DrawnCandles(candles, every, stored)
    for seconds in _lengths(stored):
        stretch = candles.timestamp // seconds
        starts = np.flatnonzero(np.concatenate([[True], np.diff(stretch) > 0]))
        if len(starts) <= most:
            break
    ends = np.concatenate([starts[1:], [len(candles)]]) - 1
    drawn = Candles(
        interval_seconds=seconds,
        timestamp=stretch[starts] * seconds,
        open=candles.open[starts],
        high=np.maximum.reduceat(candles.high, starts),
        low=np.minimum.reduceat(candles.low, starts),
        close=candles.close[ends],
        volume=np.add.reduceat(candles.volume, starts),
    )
    return DrawnCandles(drawn, ends, stored)


def event_from_row(row: Mapping[str, Any]) -> Event:
    """Return an event of the engine from a row of `simulation_events`; JSON's null is NaN, as the engine writes it."""
    return Event(
        call_id=row["call_id"],
        seq=row["seq"],
        event_time=row["event_s"],
        event_type=EventType(row["event_type"]),
        price=row["price"],
        size=row["size"],
        remaining_position=row["remaining_position"],
        pnl_so_far=row["pnl_so_far"],
        indicators=_numbers(row["indicators_json"]),
        position_state=_numbers(row["position_state_json"]),
        metadata=json.loads(row["metadata_json"]),
    )


def _lengths(stored: int) -> Sequence[int]:
    usual = [seconds for seconds in _USUAL_SECONDS if seconds > stored and seconds % stored == 0]
    # Some length holds any number of candles: 2^40 days are more than there are.
    return [*usual, *(86_400 * stored * 2**power for power in range(41))]


def _numbers(text: str) -> dict[str, float]:
    return {key: _number(value) for key, value in json.loads(text).items()}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _label(operand: IndicatorOperand) -> str:
    return indicator_label(operand.indicator, operand.params, operand.field or "")
