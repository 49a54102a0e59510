"""Step 2 of a candle: resting orders that its open reached or passed (`docs/engine.md` section 5)."""

# ruff: noqa: FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.entries import fill_limits_nb, fill_order_nb, stop_buy_nb
from quantbot_pipeline.engine.kernels.fills import sell_at_stop_nb
from quantbot_pipeline.engine.kernels.layout import NO_STOP, ORDER_STOP_BUY
from quantbot_pipeline.engine.kernels.market import market_at_nb
from quantbot_pipeline.engine.kernels.targets import fill_targets_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    BEGAN_IN,
    ENDED_IN,
    IS_HELD,
    NO_PLAN,
    PLAN,
    STOP,
    trade_of_nb,
)


@inner
def at_gaps_nb(run: IntArray, i: int) -> None:
    """Fill at the open what rests and whose price the open reached or passed."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    marks = trade.marks
    price = market.open[i]
    if marks[IS_HELD] != 0:
        if price <= trade.amounts[STOP] and marks[BEGAN_IN] < i:
            sell_at_stop_nb(run, i, price, True)
            return
        fill_targets_nb(run, i, price, True)
    if marks[PLAN] == NO_PLAN or marks[ENDED_IN] == i:
        return
    fill_limits_nb(run, i, price, True, NO_STOP, False)
    trigger = stop_buy_nb(run, i)
    if price >= trigger:
        fill_order_nb(run, i, price, ORDER_STOP_BUY, -1, False, price > trigger)
