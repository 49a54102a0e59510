"""Targets: limits above the average entry that sell parts of a cycle (`docs/engine.md` section 6)."""

# ruff: noqa: FBT001, FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.fills import sell_nb
from quantbot_pipeline.engine.kernels.layout import ORDER_LIMIT, REASON_NONE, STOP_NONE, TARGET_HIT
from quantbot_pipeline.engine.kernels.trade_state import (
    BOUGHT,
    IS_BREAK_EVEN_DUE,
    IS_HELD,
    NEXT_TARGET,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import BreakEvenKind, Choice


@inner
def fill_targets_nb(run: IntArray, i: int, reached: float, is_at_open: bool) -> None:
    """Fill the targets at or below the price that was reached, in ascending order."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    while marks[IS_HELD] != 0 and marks[NEXT_TARGET] < trade.target_prices.shape[0]:
        k = marks[NEXT_TARGET]
        price = trade.target_prices[k]
        if reached < price:
            return
        marks[NEXT_TARGET] = k + 1
        if (
            rules.choices[Choice.BREAK_EVEN] == BreakEvenKind.AFTER_TARGET
            and rules.choices[Choice.BREAK_EVEN_TARGET] == k + 1
        ):
            marks[IS_BREAK_EVEN_DUE] = 1
        is_gap = is_at_open and reached > price
        fill_price = reached if is_at_open else price
        sell_nb(
            run,
            i,
            TARGET_HIT,
            rules.targets[k, 1] * amounts[BOUGHT],
            fill_price,
            ORDER_LIMIT,
            is_gap,
            k + 1,
            REASON_NONE,
            STOP_NONE,
            -1,
            False,
        )
