"""Compile a strategy to the small arrays that the engine's kernels read.

`Choice` and `Quantity` name the slots of the two arrays; factors such as `1 - distance` are taken here once,
by the operations that the reference engine uses. Signals stay trees: each gets a slot, and the caller of the
kernels evaluates the trees to one truth value per candle and hands those over by slot.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.strategy.model import (
    Dip,
    Immediate,
    Ladder,
    Rebound,
    SignalEntry,
    Strategy,
    VolumeShareSlippage,
)
from quantbot_pipeline.strategy.signals import SignalNode

NONE = -1
"""In place of a slot or a time that a strategy does not have."""

FOREVER_SECONDS = 2**40
"""Longer times are cut to this one, so that sums of times fit 64 bits: 35 thousand years."""


class EntryKind(IntEnum):
    """How a trade buys first; the last is how it buys again."""

    IMMEDIATE = 1
    DIP = 2
    REBOUND = 3
    SIGNAL = 4
    LADDER = 5
    RE_ENTRY = 6


class BreakEvenKind(IntEnum):
    """What arms the break-even stop."""

    NEVER = 0
    GAIN = 1
    AFTER_TARGET = 2


class OverlapKind(IntEnum):
    """What happens to a call while an earlier trade is not done."""

    INDEPENDENT = 0
    SKIP = 1
    SCALE_IN = 2


class EndReason(IntEnum):
    """Why a cycle ended, as bits of `Choice.RE_ENTRY_REASONS`; 0 for what allows no re-entry."""

    TARGET = 1
    STOP = 2
    TRAILING = 4
    SIGNAL = 8
    TIME = 16


class Choice(IntEnum):
    """Slots of `CompiledStrategy.choices`; flags are 0 or 1, times whole seconds."""

    ENTRY = 0
    BUYS_ON_TIMEOUT = 1
    MAX_WAIT_SECONDS = 2
    IS_SEQUENTIAL = 3
    ENTRY_SIGNAL = 4
    EXIT_SIGNAL = 5
    HAS_LEG_SIGNALS = 6
    BREAK_EVEN = 7
    BREAK_EVEN_TARGET = 8
    HAS_TRAILING = 9
    HAS_STOP = 10
    MAX_HOLD_SECONDS = 11
    SELLS_ON_EXIT_CALL = 12
    RE_ENTRY_REASONS = 13
    RE_ENTRY_COUNT = 14
    RE_ENTRY_WAIT_SECONDS = 15
    HAS_VOLUME_SLIPPAGE = 16
    LATENCY_SECONDS = 17
    HORIZON_SECONDS = 18
    MAX_STALENESS_SECONDS = 19
    IS_PESSIMISTIC = 20
    OVERLAP = 21


class Quantity(IntEnum):
    """Slots of `CompiledStrategy.quantities`; factors multiply a price, sizes are shares of the capital of 1."""

    ENTRY_FACTOR = 0
    STOP_FACTOR = 1
    BREAK_EVEN_GAIN_FACTOR = 2
    BREAK_EVEN_STOP_FACTOR = 3
    TRAILING_GAIN_FACTOR = 4
    TRAILING_STOP_FACTOR = 5
    SCALE_OUT_SIZE = 6
    SCALE_IN_SIZE = 7
    RE_ENTRY_FACTOR = 8
    RE_ENTRY_SIZE = 9
    FEE = 10
    SLIPPAGE = 11
    SLIPPAGE_IMPACT = 12
    SLIPPAGE_CAP = 13
    CAPITAL_QUOTE = 14


@dataclass(frozen=True, slots=True)
class CompiledStrategy:
    """A strategy as numbers.

    Attributes:
        choices: Kinds, flags and times by `Choice`, int64.
        quantities: Factors and sizes by `Quantity`, float64.
        targets: Multiple and size of each target, ascending, float64, shape (n_targets, 2).
        legs: Offset from the reference price (NaN for a leg with a signal) and size of each leg, float64,
            shape (n_legs, 2).
        leg_signals: Slot of each leg's signal, `NONE` for a limit, int64, shape (n_legs,).
        leg_ids: Names of the legs.
        signals: The signal trees by slot.
    """

    choices: npt.NDArray[np.int64]
    quantities: npt.NDArray[np.float64]
    targets: npt.NDArray[np.float64]
    legs: npt.NDArray[np.float64]
    leg_signals: npt.NDArray[np.int64]
    leg_ids: tuple[str, ...]
    signals: tuple[SignalNode, ...]


def compile_strategy(strategy: Strategy) -> CompiledStrategy:
    """Return the strategy as the arrays that the kernels read; it depends on nothing else."""
    choices = np.full(len(Choice), NONE, dtype=np.int64)
    quantities = np.zeros(len(Quantity), dtype=np.float64)
    signals: list[SignalNode] = []

    def slot(signal: SignalNode | None) -> int:
        if signal is None:
            return NONE
        signals.append(signal)
        return len(signals) - 1

    entry = strategy.entry
    choices[Choice.BUYS_ON_TIMEOUT] = isinstance(entry, Dip | Rebound | SignalEntry) and entry.on_timeout == "market"
    choices[Choice.MAX_WAIT_SECONDS] = 0 if isinstance(entry, Immediate) else _seconds(entry.max_wait_seconds)
    choices[Choice.IS_SEQUENTIAL] = isinstance(entry, Ladder) and entry.sequential
    match entry:
        case Dip():
            choices[Choice.ENTRY] = EntryKind.DIP
            quantities[Quantity.ENTRY_FACTOR] = 1.0 - entry.drop
        case Rebound():
            choices[Choice.ENTRY] = EntryKind.REBOUND
            quantities[Quantity.ENTRY_FACTOR] = 1.0 + entry.rebound
        case SignalEntry():
            choices[Choice.ENTRY] = EntryKind.SIGNAL
            choices[Choice.ENTRY_SIGNAL] = slot(entry.when)
        case Ladder():
            choices[Choice.ENTRY] = EntryKind.LADDER
        case _:
            choices[Choice.ENTRY] = EntryKind.IMMEDIATE
    legs = entry.legs if isinstance(entry, Ladder) else ()
    leg_signals = np.array([slot(leg.when) for leg in legs], dtype=np.int64)
    choices[Choice.HAS_LEG_SIGNALS] = bool((leg_signals != NONE).any())

    exits = strategy.exits
    choices[Choice.EXIT_SIGNAL] = slot(exits.when)
    choices[Choice.SELLS_ON_EXIT_CALL] = exits.on_exit_call
    quantities[Quantity.SCALE_OUT_SIZE] = exits.scale_out_size
    choices[Choice.HAS_STOP] = exits.stop_loss is not None
    if exits.stop_loss is not None:
        quantities[Quantity.STOP_FACTOR] = 1.0 - exits.stop_loss.initial
    choices[Choice.BREAK_EVEN] = BreakEvenKind.NEVER
    if exits.break_even is not None:
        quantities[Quantity.BREAK_EVEN_STOP_FACTOR] = 1.0 + exits.break_even.offset
        if exits.break_even.gain is not None:
            choices[Choice.BREAK_EVEN] = BreakEvenKind.GAIN
            quantities[Quantity.BREAK_EVEN_GAIN_FACTOR] = 1.0 + exits.break_even.gain
        else:
            choices[Choice.BREAK_EVEN] = BreakEvenKind.AFTER_TARGET
            choices[Choice.BREAK_EVEN_TARGET] = exits.break_even.after_target or NONE
    choices[Choice.HAS_TRAILING] = exits.trailing is not None
    if exits.trailing is not None:
        quantities[Quantity.TRAILING_GAIN_FACTOR] = 1.0 + exits.trailing.activate_at
        quantities[Quantity.TRAILING_STOP_FACTOR] = 1.0 - exits.trailing.distance
    if exits.max_hold_seconds is not None:
        choices[Choice.MAX_HOLD_SECONDS] = _seconds(exits.max_hold_seconds)

    re_entry = strategy.re_entry
    choices[Choice.RE_ENTRY_REASONS] = 0
    if re_entry is not None:
        choices[Choice.RE_ENTRY_REASONS] = sum(EndReason[reason.upper()] for reason in re_entry.after)
        choices[Choice.RE_ENTRY_COUNT] = min(re_entry.max_count, FOREVER_SECONDS)
        choices[Choice.RE_ENTRY_WAIT_SECONDS] = _seconds(re_entry.max_wait_seconds)
        quantities[Quantity.RE_ENTRY_FACTOR] = 1.0 - re_entry.retrace
        quantities[Quantity.RE_ENTRY_SIZE] = re_entry.size

    slippage = strategy.costs.slippage
    quantities[Quantity.FEE] = strategy.costs.fee
    choices[Choice.HAS_VOLUME_SLIPPAGE] = isinstance(slippage, VolumeShareSlippage)
    if isinstance(slippage, VolumeShareSlippage):
        quantities[Quantity.SLIPPAGE] = slippage.base
        quantities[Quantity.SLIPPAGE_IMPACT] = slippage.impact
        quantities[Quantity.SLIPPAGE_CAP] = slippage.cap
        quantities[Quantity.CAPITAL_QUOTE] = slippage.capital_quote
    else:
        quantities[Quantity.SLIPPAGE] = slippage.fraction

    choices[Choice.LATENCY_SECONDS] = _seconds(strategy.costs.latency_seconds)
    choices[Choice.HORIZON_SECONDS] = _seconds(strategy.horizon_seconds)
    choices[Choice.MAX_STALENESS_SECONDS] = _seconds(strategy.max_staleness_seconds)
    choices[Choice.IS_PESSIMISTIC] = strategy.intrabar == "pessimistic"
    choices[Choice.OVERLAP] = OverlapKind[strategy.overlap.upper()]
    quantities[Quantity.SCALE_IN_SIZE] = strategy.scale_in_size

    return CompiledStrategy(
        choices=choices,
        quantities=quantities,
        targets=np.array([(t.multiple, t.size) for t in exits.targets], dtype=np.float64).reshape(-1, 2),
        legs=np.array(
            [(np.nan if leg.offset is None else leg.offset, leg.size) for leg in legs], dtype=np.float64
        ).reshape(-1, 2),
        leg_signals=leg_signals,
        leg_ids=tuple(leg.id for leg in legs),
        signals=tuple(signals),
    )


def _seconds(seconds: int) -> int:
    return min(seconds, FOREVER_SECONDS)
