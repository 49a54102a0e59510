"""Step 1 of a candle: market orders, at its open (`docs/engine.md` section 5)."""

# ruff: noqa: FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.caller_actions import end_of_actions_nb, find_action_nb
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.entries import buy_at_open_nb
from quantbot_pipeline.engine.kernels.fills import buy_nb, sell_all_at_market_nb, sell_nb, write_entry_skipped_nb
from quantbot_pipeline.engine.kernels.layout import (
    CALL_EXIT,
    CALL_SCALE_IN,
    CALL_SCALE_OUT,
    ORDER_MARKET,
    REASON_EXIT_CALL,
    REASON_HORIZON,
    REASON_MAX_HOLD,
    REASON_SCALE_IN_CALL,
    REASON_SIGNAL,
    SCALE_IN,
    SIGNAL_EXIT,
    STOP_NONE,
    TIME_EXIT,
)
from quantbot_pipeline.engine.kernels.market import market_at_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ACTION,
    ACTION_CANDLE,
    BOUGHT,
    CYCLES,
    DONE_IN,
    ENDED_IN,
    HORIZON_CANDLE,
    IS_HELD,
    MAX_HOLD_CANDLE,
    NO_PLAN,
    PLAN,
    calls_of_nb,
    has_held_nb,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import Choice, OverlapKind, Quantity


@inner
def _sell_at_open_nb(run: IntArray, i: int, end_of_actions: int) -> None:
    """Sell all for the first reason that applies, else what scale-out calls ask for."""
    market, rules, trade, calls = market_at_nb(run), rules_of_nb(run), trade_of_nb(run), calls_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    if i >= marks[MAX_HOLD_CANDLE]:
        sell_all_at_market_nb(run, i, TIME_EXIT, REASON_MAX_HOLD, -1)
        return
    sells = rules.choices[Choice.SELLS_ON_EXIT_CALL] != 0
    if sells:
        for action in range(marks[ACTION], end_of_actions):
            call = calls.action[action]
            if calls.kind[call] == CALL_EXIT:
                sell_all_at_market_nb(run, i, SIGNAL_EXIT, REASON_EXIT_CALL, call)
                return
    slot = rules.choices[Choice.EXIT_SIGNAL]
    if slot >= 0 and has_held_nb(run, slot, i - 1):
        sell_all_at_market_nb(run, i, SIGNAL_EXIT, REASON_SIGNAL, -1)
        return
    if sells:
        for action in range(marks[ACTION], end_of_actions):
            call = calls.action[action]
            if calls.kind[call] == CALL_SCALE_OUT and marks[IS_HELD] != 0:
                sell_nb(
                    run,
                    i,
                    SIGNAL_EXIT,
                    rules.quantities[Quantity.SCALE_OUT_SIZE] * amounts[BOUGHT],
                    market.open[i],
                    ORDER_MARKET,
                    False,
                    0,
                    REASON_EXIT_CALL,
                    STOP_NONE,
                    call,
                    False,
                )


@inner
def _scale_in_nb(run: IntArray, i: int, end_of_actions: int) -> None:
    """Buy what scale-in calls at this open ask for."""
    market, rules, trade, calls = market_at_nb(run), rules_of_nb(run), trade_of_nb(run), calls_of_nb(run)
    if rules.choices[Choice.OVERLAP] != OverlapKind.SCALE_IN:
        return
    size = rules.quantities[Quantity.SCALE_IN_SIZE]
    for action in range(trade.marks[ACTION], end_of_actions):
        call = calls.action[action]
        if calls.kind[call] == CALL_SCALE_IN:
            calls.is_used[call] = 1
            buy_nb(run, i, SCALE_IN, size, market.open[i], ORDER_MARKET, False, False, -1, REASON_SCALE_IN_CALL, call)


@inner
def at_open_nb(run: IntArray, i: int) -> None:
    """Fill market orders: sales first, then buys."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    marks = trade.marks
    if i >= marks[HORIZON_CANDLE]:
        if marks[IS_HELD] != 0:
            sell_all_at_market_nb(run, i, TIME_EXIT, REASON_HORIZON, -1)
        elif marks[CYCLES] == 0:
            write_entry_skipped_nb(run, market.time[i], REASON_HORIZON, i - 1)
        marks[PLAN] = NO_PLAN
        marks[DONE_IN] = i
        return
    find_action_nb(run, i)
    end_of_actions = marks[ACTION]
    if marks[ACTION_CANDLE] == i:
        end_of_actions = end_of_actions_nb(run, i)
    if marks[IS_HELD] != 0:
        _sell_at_open_nb(run, i, end_of_actions)
    if marks[ENDED_IN] == i:
        return
    if marks[PLAN] != NO_PLAN:
        buy_at_open_nb(run, i)
    if marks[IS_HELD] != 0 and end_of_actions > marks[ACTION]:
        _scale_in_nb(run, i, end_of_actions)
