"""Candles in which nothing can happen: they move the peak, the trailing stop and the extremes, no more.

The skip stops early rather than late: a candle that turns out quiet costs a step.
"""

from numba import carray

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.caller_actions import find_action_nb
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.entries import highest_limit_nb, single_limit_nb
from quantbot_pipeline.engine.kernels.fills import count_excursion_nb
from quantbot_pipeline.engine.kernels.layout import STOP_TRAILING
from quantbot_pipeline.engine.kernels.market import byte_pointer_nb, market_at_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ACTION_CANDLE,
    AVERAGE,
    HIGHEST_HIGH,
    HORIZON_CANDLE,
    IS_BREAK_EVEN_ARMED,
    IS_HELD,
    IS_TRAILING_ARMED,
    LOWEST_LOW,
    MAX_HOLD_CANDLE,
    NEXT_TARGET,
    NO_LIMIT,
    NO_PLAN,
    NO_PRICE,
    PEAK,
    PLAN,
    PLAN_LAST,
    STOP,
    STOP_KIND,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import BreakEvenKind, Choice, EntryKind, Quantity

BLOCK = 32
"""Candles that are looked at together while nothing happens."""


@inner
def _first_true_nb(run: IntArray, slot: int, begin: int, end: int) -> int:
    """Return the first candle in [begin, end) at whose close a signal held; `end` if there is none."""
    rules = rules_of_nb(run)
    holds = carray(byte_pointer_nb(rules.signals[slot]), (end,))
    first = begin
    while first + BLOCK <= end:
        held = 0
        for i in range(first, first + BLOCK):
            held |= holds[i]
        if held != 0:
            break
        first += BLOCK
    for i in range(first, end):
        if holds[i] != 0:
            return i
    return end


@inner
def _next_signal_nb(run: IntArray, begin: int, end: int) -> int:
    """Return the first candle in [begin, end) whose open a signal may act at; `end` if there is none."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
    marks, choices = trade.marks, rules.choices
    found = end
    if marks[IS_HELD] != 0 and choices[Choice.EXIT_SIGNAL] >= 0:
        found = _first_true_nb(run, choices[Choice.EXIT_SIGNAL], begin - 1, found - 1) + 1
    if marks[PLAN] == EntryKind.SIGNAL:
        found = _first_true_nb(run, choices[Choice.ENTRY_SIGNAL], begin - 1, found - 1) + 1
    elif marks[PLAN] == EntryKind.LADDER and choices[Choice.HAS_LEG_SIGNALS] != 0:
        for k in range(rules.legs.shape[0]):
            if trade.leg_armed[k] != 0 and rules.leg_signals[k] >= 0:
                found = _first_true_nb(run, rules.leg_signals[k], begin - 1, found - 1) + 1
    return found


@inner
def _extremes_nb(low: FloatArray, high: FloatArray, begin: int) -> tuple[float, float]:
    """Return the lowest low and the highest high of `BLOCK` candles from `begin` on."""
    lowest, highest = low[begin], high[begin]
    for i in range(begin + 1, begin + BLOCK):
        lowest = low[i] if low[i] < lowest else lowest
        highest = high[i] if high[i] > highest else highest
    return lowest, highest


@inner
def _skip_quiet_held_nb(run: IntArray, begin: int, end: int) -> int:
    """Return the first candle from `begin` on that a position has to step through; `end` if there is none."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
    amounts, marks, choices, quantities = trade.amounts, trade.marks, rules.choices, rules.quantities
    market = market_at_nb(run)
    low, high = market.low, market.high
    limit = highest_limit_nb(run) if marks[PLAN] == EntryKind.LADDER else NO_LIMIT
    average, peak, stop = amounts[AVERAGE], amounts[PEAK], amounts[STOP]
    above = NO_PRICE
    if marks[NEXT_TARGET] < trade.target_prices.shape[0]:
        above = trade.target_prices[marks[NEXT_TARGET]]
    if choices[Choice.BREAK_EVEN] == BreakEvenKind.GAIN and marks[IS_BREAK_EVEN_ARMED] == 0:
        above = min(above, average * quantities[Quantity.BREAK_EVEN_GAIN_FACTOR])
    is_trailing = marks[IS_TRAILING_ARMED] != 0
    if choices[Choice.HAS_TRAILING] != 0 and not is_trailing:
        above = min(above, average * quantities[Quantity.TRAILING_GAIN_FACTOR])
    trailing_factor = quantities[Quantity.TRAILING_STOP_FACTOR]
    below = max(stop, limit)

    lowest, highest = NO_PRICE, -NO_PRICE
    is_quiet = True
    i = begin
    while i < end and is_quiet:
        if i + BLOCK <= end:
            low_of_block, high_of_block = _extremes_nb(low, high, i)
            if low_of_block > below and high_of_block < above and (high_of_block <= peak or not is_trailing):
                lowest = min(lowest, low_of_block)
                highest = max(highest, high_of_block)
                i += BLOCK
                continue
        until = min(i + BLOCK, end)
        while i < until:
            low_i, high_i = low[i], high[i]
            if low_i <= below or high_i >= above:
                is_quiet = False
                break
            lowest = min(lowest, low_i)
            highest = max(highest, high_i)
            if is_trailing and high_i > peak:
                peak = high_i
                level = peak * trailing_factor
                if level >= stop:
                    stop = level
                    marks[STOP_KIND] = STOP_TRAILING
                    below = max(stop, limit)
            i += 1
    if i > begin:
        amounts[STOP] = stop
        amounts[PEAK] = max(amounts[PEAK], highest)
        amounts[HIGHEST_HIGH] = max(amounts[HIGHEST_HIGH], highest)
        count_excursion_nb(run, lowest / average, highest / average)
    return i


@inner
def _skip_quiet_rebound_nb(run: IntArray, begin: int, end: int) -> int:
    """Do what `_skip_quiet_flat_nb` does, for a stop-buy above the lowest low."""
    amounts = trade_of_nb(run).amounts
    market = market_at_nb(run)
    low, high = market.low, market.high
    factor = rules_of_nb(run).quantities[Quantity.ENTRY_FACTOR]
    lowest = amounts[LOWEST_LOW]
    i = begin
    while i < end:
        lowest = min(lowest, low[i - 1])
        if i + BLOCK <= end:
            low_of_block, high_of_block = _extremes_nb(low, high, i)
            if low_of_block >= lowest and high_of_block < lowest * factor:
                i += BLOCK
                continue
        if high[i] >= lowest * factor:
            break
        i += 1
    amounts[LOWEST_LOW] = lowest
    return i


@inner
def _skip_quiet_flat_nb(run: IntArray, begin: int, end: int) -> int:
    """Return the first candle from `begin` on that a waiting trade has to step through; `end` if there is none."""
    trade = trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    market = market_at_nb(run)
    low, high = market.low, market.high
    if marks[PLAN] == EntryKind.REBOUND:
        return _skip_quiet_rebound_nb(run, begin, end)
    i = begin
    if marks[PLAN] == EntryKind.RE_ENTRY:
        factor = rules_of_nb(run).quantities[Quantity.RE_ENTRY_FACTOR]
        highest = amounts[HIGHEST_HIGH]
        limit = highest * factor
        while i < end:
            if i + BLOCK <= end:
                low_of_block, high_of_block = _extremes_nb(low, high, i)
                if low_of_block > limit and high_of_block <= highest:
                    i += BLOCK
                    continue
            if low[i] <= limit:
                break
            if high[i] > highest:
                highest = high[i]
                limit = highest * factor
            i += 1
        amounts[HIGHEST_HIGH] = highest
        return i
    limit = highest_limit_nb(run) if marks[PLAN] == EntryKind.LADDER else single_limit_nb(run, i)
    if limit == NO_LIMIT:
        return end
    while i < end and low[i] > limit:
        i += 1
    return i


@inner
def skip_quiet_nb(run: IntArray, begin: int) -> int:
    """Return the next candle to step through; n if the candles end before."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    marks = trade.marks
    end = min(market.n, marks[HORIZON_CANDLE])
    if marks[PLAN] != NO_PLAN:
        end = min(end, marks[PLAN_LAST] + 1)
    if marks[IS_HELD] != 0:
        find_action_nb(run, begin)
        end = min(end, marks[MAX_HOLD_CANDLE], marks[ACTION_CANDLE])
    if begin >= end:
        return begin
    end = _next_signal_nb(run, begin, end)
    if marks[IS_HELD] != 0:
        return _skip_quiet_held_nb(run, begin, end)
    return _skip_quiet_flat_nb(run, begin, end)
