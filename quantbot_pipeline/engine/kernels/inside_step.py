"""Step 3 of a candle: resting orders that its low or high touched (`docs/engine.md` section 5)."""

# ruff: noqa: FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.entries import fill_limits_nb, fill_order_nb, stop_buy_nb
from quantbot_pipeline.engine.kernels.fills import sell_at_stop_nb
from quantbot_pipeline.engine.kernels.layout import NO_STOP, ORDER_STOP_BUY
from quantbot_pipeline.engine.kernels.market import market_at_nb
from quantbot_pipeline.engine.kernels.targets import fill_targets_nb
from quantbot_pipeline.engine.kernels.trade_state import IS_HELD, NO_PLAN, PLAN, STOP, rules_of_nb, trade_of_nb
from quantbot_pipeline.strategy.compile import Choice


@inner
def inside_nb(run: IntArray, i: int) -> None:
    """Fill resting orders that the candle's low or high touched."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    low, high = market.low[i], market.high[i]
    is_pessimistic = rules.choices[Choice.IS_PESSIMISTIC] != 0
    if marks[IS_HELD] == 0:
        if marks[PLAN] == NO_PLAN:
            return
        trigger = stop_buy_nb(run, i)
        if high >= trigger:
            fill_order_nb(run, i, trigger, ORDER_STOP_BUY, -1, True, False)
        if marks[PLAN] != NO_PLAN:
            fill_limits_nb(run, i, low, False, NO_STOP, True)
        if is_pessimistic and marks[IS_HELD] != 0 and low <= amounts[STOP]:
            sell_at_stop_nb(run, i, amounts[STOP], False)
        return
    if is_pessimistic:
        if marks[PLAN] != NO_PLAN:
            fill_limits_nb(run, i, low, False, amounts[STOP], False)
        if low <= amounts[STOP]:
            sell_at_stop_nb(run, i, amounts[STOP], False)
        else:
            fill_targets_nb(run, i, high, False)
        return
    fill_targets_nb(run, i, high, False)
    if marks[IS_HELD] != 0 and marks[PLAN] != NO_PLAN:
        fill_limits_nb(run, i, low, False, NO_STOP, False)
    if marks[IS_HELD] != 0 and low <= amounts[STOP]:
        sell_at_stop_nb(run, i, amounts[STOP], False)
