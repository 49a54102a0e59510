"""Step 4 of a candle: peak, stop and targets for the next one (`docs/engine.md` section 5)."""

# ruff: noqa: FBT001, FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.fills import count_excursion_nb, write_event_nb
from quantbot_pipeline.engine.kernels.layout import (
    ORDER_NONE,
    REASON_BREAK_EVEN,
    REASON_TRAILING,
    STOP_BREAK_EVEN,
    STOP_MOVED,
    STOP_NONE,
    STOP_TRAILING,
)
from quantbot_pipeline.engine.kernels.market import market_at_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    AVERAGE,
    BEGAN_IN,
    BEGAN_INSIDE,
    CYCLES,
    FILL_HIGHEST,
    FILL_LOWEST,
    FIRST_BEGAN_IN,
    FIRST_BEGAN_INSIDE,
    HAS_AVERAGE_CHANGED,
    HIGHEST_HIGH,
    IS_BREAK_EVEN_ARMED,
    IS_BREAK_EVEN_DUE,
    IS_HELD,
    IS_TRAILING_ARMED,
    PEAK,
    STOP,
    STOP_KIND,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import BreakEvenKind, Choice, Quantity


@inner
def _raise_stop_nb(run: IntArray, i: int, level: float, kind: int, reason: int, is_arming: bool) -> None:
    """Set the stop to the level unless it is higher already; say so when that is an arming."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    amounts = trade.amounts
    is_raised = level > amounts[STOP]
    if level >= amounts[STOP]:
        amounts[STOP] = level
        trade.marks[STOP_KIND] = kind
    if is_arming and is_raised:
        closes_at = market.time[i] + market.interval
        write_event_nb(run, closes_at, STOP_MOVED, level, 0.0, i, ORDER_NONE, False, -1, 0, reason, STOP_NONE, -1)


@inner
def _move_stop_nb(run: IntArray, i: int) -> None:
    rules, trade = rules_of_nb(run), trade_of_nb(run)
    amounts, marks, choices, quantities = trade.amounts, trade.marks, rules.choices, rules.quantities
    arms_break_even = False
    if marks[IS_BREAK_EVEN_ARMED] == 0:
        if choices[Choice.BREAK_EVEN] == BreakEvenKind.GAIN:
            arms_break_even = amounts[PEAK] >= amounts[AVERAGE] * quantities[Quantity.BREAK_EVEN_GAIN_FACTOR]
        elif choices[Choice.BREAK_EVEN] == BreakEvenKind.AFTER_TARGET:
            arms_break_even = marks[IS_BREAK_EVEN_DUE] != 0
    arms_trailing = (
        choices[Choice.HAS_TRAILING] != 0
        and marks[IS_TRAILING_ARMED] == 0
        and amounts[PEAK] >= amounts[AVERAGE] * quantities[Quantity.TRAILING_GAIN_FACTOR]
    )
    if arms_break_even:
        marks[IS_BREAK_EVEN_ARMED] = 1
    if arms_trailing:
        marks[IS_TRAILING_ARMED] = 1
    if marks[IS_BREAK_EVEN_ARMED] == 0 and marks[IS_TRAILING_ARMED] == 0:
        if choices[Choice.HAS_STOP] != 0:
            amounts[STOP] = amounts[AVERAGE] * quantities[Quantity.STOP_FACTOR]
        return
    if marks[IS_BREAK_EVEN_ARMED] != 0:
        level = amounts[AVERAGE] * quantities[Quantity.BREAK_EVEN_STOP_FACTOR]
        _raise_stop_nb(run, i, level, STOP_BREAK_EVEN, REASON_BREAK_EVEN, arms_break_even)
    if marks[IS_TRAILING_ARMED] != 0:
        level = amounts[PEAK] * quantities[Quantity.TRAILING_STOP_FACTOR]
        _raise_stop_nb(run, i, level, STOP_TRAILING, REASON_TRAILING, arms_trailing)


@inner
def at_close_nb(run: IntArray, i: int) -> None:
    """Move peak, stop and targets; they act from the next candle on."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    high = market.high[i]
    if marks[CYCLES] > 0 and not (marks[FIRST_BEGAN_IN] == i and marks[FIRST_BEGAN_INSIDE] != 0):
        amounts[HIGHEST_HIGH] = max(amounts[HIGHEST_HIGH], high)
    if marks[IS_HELD] == 0:
        return
    average = amounts[AVERAGE]
    if marks[BEGAN_IN] == i and marks[BEGAN_INSIDE] != 0:
        ratio = market.close[i] / average
        count_excursion_nb(run, min(amounts[FILL_LOWEST], ratio), max(amounts[FILL_HIGHEST], ratio))
    else:
        amounts[PEAK] = max(amounts[PEAK], high)
        count_excursion_nb(run, market.low[i] / average, high / average)
    _move_stop_nb(run, i)
    if marks[HAS_AVERAGE_CHANGED] != 0:
        for k in range(trade.target_prices.shape[0]):
            trade.target_prices[k] = average * rules.targets[k, 0]
        marks[HAS_AVERAGE_CHANGED] = 0
