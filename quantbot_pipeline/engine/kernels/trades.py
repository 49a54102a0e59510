"""The kernel that takes trades of many calls through their candles: `docs/engine.md` sections 3 to 6.

`_step_nb` does one candle exactly, in the order of the document, by the modules `open_step`, `gap_step`, `inside_step`
and `close_step`; between two candles in which something can happen `skip_quiet_nb` runs over the others.
"""

# ruff: noqa: FBT003 - kernels call each other by position, with flags among the arguments
# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.caller_actions import begin_actions_nb
from quantbot_pipeline.engine.kernels.close_step import at_close_nb
from quantbot_pipeline.engine.kernels.compiling import inner, outer
from quantbot_pipeline.engine.kernels.entries import begin_plan_nb
from quantbot_pipeline.engine.kernels.fills import sell_nb, write_entry_skipped_nb
from quantbot_pipeline.engine.kernels.gap_step import at_gaps_nb
from quantbot_pipeline.engine.kernels.inside_step import inside_nb
from quantbot_pipeline.engine.kernels.layout import (
    CALL_ENTRY,
    CALL_SCALE_IN,
    CURSOR_BLOCKED_UNTIL,
    CURSOR_CALL,
    CURSOR_EVENTS,
    CURSOR_FILLS,
    CURSOR_PHASE,
    CURSOR_TASK,
    CURSOR_WANTED,
    FINAL_EXIT,
    NO_CANDLE,
    ORDER_MARKET,
    PHASE_ENTRIES,
    PHASE_SCALE_INS,
    REASON_END_OF_DATA,
    REASON_NO_CANDLES,
    REASON_NOTHING_TO_SCALE,
    REASON_OVERLAP,
    RESULT_ADVERSE,
    RESULT_CASH_SPENT,
    RESULT_DONE_AT,
    RESULT_ENTERED_AT,
    RESULT_EVENTS,
    RESULT_FAVOURABLE,
    RESULT_FILLS,
    RESULT_FIRST_EVENT,
    RESULT_FIRST_FILL,
    RESULT_HOLDING_SECONDS,
    RESULT_INITIAL_STOPS,
    RESULT_IS_TRADE,
    RESULT_LADDER_ENTRIES,
    RESULT_LAST_FILL_AT,
    RESULT_PNL,
    RESULT_RE_ENTRIES,
    RESULT_STEPS,
    RESULT_TARGET_HITS,
    STOP_NONE,
    TASK_END_CALL,
    TASK_FIRST_CALL,
    TASK_TOKEN,
)
from quantbot_pipeline.engine.kernels.market import MARKET_COLUMNS, first_candle_at_nb, market_at_nb
from quantbot_pipeline.engine.kernels.open_step import at_open_nb
from quantbot_pipeline.engine.kernels.quiet import skip_quiet_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ADVERSE,
    AMOUNT_SLOTS,
    CASH_SPENT,
    CYCLES,
    DONE_IN,
    ENDED_IN,
    EVENTS,
    FAVOURABLE,
    FILL_CANDLE,
    FILLS,
    FIRST_BEGAN_IN,
    HOLDING_SECONDS,
    HORIZON_CANDLE,
    INITIAL_STOPS,
    IS_HELD,
    LADDER_ENTRIES,
    LAST_EVENT_TIME,
    LOWEST_LOW,
    MARK_SLOTS,
    PROCEEDS,
    QUANTITY,
    RE_ENTRIES,
    REFERENCE,
    RUN_ACTION,
    RUN_ACTION_COUNT,
    RUN_AMOUNTS,
    RUN_CALL_COUNT,
    RUN_CALL_KIND,
    RUN_CALL_TIMESTAMP,
    RUN_CHOICES,
    RUN_END_ACTION,
    RUN_EVENT_AMOUNTS,
    RUN_EVENT_COUNT,
    RUN_EVENT_MARKS,
    RUN_FILL_AMOUNTS,
    RUN_FILL_CANDLES,
    RUN_FILL_COUNT,
    RUN_FIRST_ACTION,
    RUN_IS_USED,
    RUN_LEG_ARMED,
    RUN_LEG_COUNT,
    RUN_LEG_LIMITS,
    RUN_LEG_ORDER,
    RUN_LEG_SIGNALS,
    RUN_LEGS,
    RUN_MARKS,
    RUN_QUANTITIES,
    RUN_SIGNAL_COUNT,
    RUN_SIGNALS,
    RUN_SLOTS,
    RUN_TARGET_COUNT,
    RUN_TARGET_PRICES,
    RUN_TARGETS,
    START,
    TARGET_HITS,
    Trade,
    calls_of_nb,
    output_of_nb,
    reset_nb,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import Choice, OverlapKind


@inner
def _step_nb(run: IntArray, i: int) -> None:
    """Take the trade through candle i."""
    trade = trade_of_nb(run)
    marks = trade.marks
    at_open_nb(run, i)
    if marks[DONE_IN] < 0 and marks[ENDED_IN] != i:
        at_gaps_nb(run, i)
    if marks[DONE_IN] < 0 and marks[ENDED_IN] != i:
        inside_nb(run, i)
    if marks[DONE_IN] < 0:
        at_close_nb(run, i)


@inner
def _run_trade_nb(run: IntArray, call: int, start: int) -> int:
    """Take a trade from candle a until it is done; return how many candles that were."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    amounts[REFERENCE] = market.open[start]
    amounts[LOWEST_LOW] = market.open[start]
    marks[START] = start
    marks[HORIZON_CANDLE] = first_candle_at_nb(market.time, market.time[start] + rules.choices[Choice.HORIZON_SECONDS])
    begin_plan_nb(run, start)
    begin_actions_nb(run, call)
    i = start
    while i < market.n:
        _step_nb(run, i)
        if marks[DONE_IN] >= 0:
            return i + 1 - start
        i = skip_quiet_nb(run, i + 1)
    last = market.n - 1
    if marks[IS_HELD] != 0:
        quantity = amounts[QUANTITY]
        price = market.close[last]
        sell_nb(run, last, FINAL_EXIT, quantity, price, ORDER_MARKET, False, 0, REASON_END_OF_DATA, STOP_NONE, -1, True)
    elif marks[CYCLES] == 0:
        write_entry_skipped_nb(run, market.time[last] + market.interval, REASON_END_OF_DATA, last)
    marks[DONE_IN] = last
    return last + 1 - start


@inner
def _keep_result_nb(
    run: IntArray, cursor: IntArray, result_amounts: FloatArray, result_marks: IntArray, steps: int
) -> None:
    """Write what came of a trade, and move the ends of events and fills behind its own."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    result_amounts[RESULT_PNL] = amounts[PROCEEDS] - amounts[CASH_SPENT]
    result_amounts[RESULT_CASH_SPENT] = amounts[CASH_SPENT]
    result_amounts[RESULT_ADVERSE] = amounts[ADVERSE]
    result_amounts[RESULT_FAVOURABLE] = amounts[FAVOURABLE]
    result_marks[RESULT_IS_TRADE] = 1
    if marks[CYCLES] > 0:
        result_marks[RESULT_ENTERED_AT] = market.time[marks[FIRST_BEGAN_IN]]
        result_marks[RESULT_LAST_FILL_AT] = market.time[marks[FILL_CANDLE]]
    result_marks[RESULT_DONE_AT] = marks[LAST_EVENT_TIME]
    result_marks[RESULT_HOLDING_SECONDS] = marks[HOLDING_SECONDS]
    result_marks[RESULT_RE_ENTRIES] = marks[RE_ENTRIES]
    result_marks[RESULT_LADDER_ENTRIES] = marks[LADDER_ENTRIES]
    result_marks[RESULT_TARGET_HITS] = marks[TARGET_HITS]
    result_marks[RESULT_INITIAL_STOPS] = marks[INITIAL_STOPS]
    result_marks[RESULT_FIRST_EVENT] = cursor[CURSOR_EVENTS]
    result_marks[RESULT_EVENTS] = marks[EVENTS] - cursor[CURSOR_EVENTS]
    result_marks[RESULT_FIRST_FILL] = cursor[CURSOR_FILLS]
    result_marks[RESULT_FILLS] = marks[FILLS] - cursor[CURSOR_FILLS]
    result_marks[RESULT_STEPS] = steps
    cursor[CURSOR_EVENTS] = marks[EVENTS]
    cursor[CURSOR_FILLS] = marks[FILLS]


@inner
def _most_events_nb(run: IntArray, call: int, start: int) -> int:
    """Return a bound of the events, and so of the fills, of one trade."""
    market, rules, calls = market_at_nb(run), rules_of_nb(run), calls_of_nb(run)
    cycles = 1
    if rules.choices[Choice.RE_ENTRY_REASONS] != 0:
        # A cycle begins in a candle of its own.
        cycles += min(rules.choices[Choice.RE_ENTRY_COUNT], market.n - start)
    # Per cycle: its first buy, its targets, two moves of the stop, what sells the rest.
    per_cycle = 4 + rules.targets.shape[0]
    return rules.legs.shape[0] + cycles * per_cycle + calls.end_action[call] - calls.first_action[call]


@inner
def _has_room_nb(run: IntArray, cursor: IntArray, wanted: int) -> bool:
    """Return whether a trade of so many events fits; else leave in the cursor what is wanted."""
    output = output_of_nb(run)
    has_room = cursor[CURSOR_FILLS] + wanted <= output.fill_candles.shape[0]
    if output.event_marks.shape[0] > 0:
        has_room = has_room and cursor[CURSOR_EVENTS] + wanted <= output.event_marks.shape[0]
    if not has_room:
        cursor[CURSOR_WANTED] = wanted
    return has_room


@inner
def _write_skipped_call_nb(run: IntArray, time: int, reason: int, candle: int) -> None:
    """Write the one event of a call that was skipped at the open of a candle, or (-1) without any."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    if candle < 0:
        trade.amounts[REFERENCE] = np.nan
        write_entry_skipped_nb(run, time, reason, NO_CANDLE)
    else:
        trade.amounts[REFERENCE] = market.open[candle]
        write_entry_skipped_nb(run, market.time[candle], reason, candle - 1)


@outer
def simulate_tasks_nb(
    markets: IntArray,
    timestamp: IntArray,
    kind: IntArray,
    action: IntArray,
    first_action: IntArray,
    end_action: IntArray,
    is_reported: IntArray,
    is_used: IntArray,
    choices: IntArray,
    quantities: FloatArray,
    targets: FloatArray,
    legs: FloatArray,
    leg_signals: IntArray,
    signals: IntArray,
    tasks: IntArray,
    cursor: IntArray,
    result_amounts: FloatArray,
    result_marks: IntArray,
    event_amounts: FloatArray,
    event_marks: IntArray,
    fill_amounts: FloatArray,
    fill_candles: IntArray,
) -> bool:
    """Simulate one strategy on calls of many tokens, from where the cursor stands.

    Args:
        markets: Addresses, length and interval of each token's candles, shape (n_tokens, MARKET_COLUMNS).
        timestamp: Of all calls, in the order of (token, signal_timestamp, call_id), shape (n_calls,).
        kind: What each call asks for, one of `CALL_…`.
        action: Positions of the calls that act on trades, by token and caller, in the order of time.
        first_action: Where in `action` those of the call's own caller begin, shape (n_calls,).
        end_action: Where they end.
        is_reported: 0 for calls whose trade is not asked for (it runs where others depend on it).
        is_used: Set to 1 for scale-in calls that bought.
        choices: Of the compiled strategy, as the next four.
        quantities: The same.
        targets: The same.
        legs: The same.
        leg_signals: The same.
        signals: Address of each signal's truth values on each token (uint8), shape (n_tokens, n_signals).
        tasks: Token, first call and end of calls of each task, shape (n_tasks, 3); a token's calls are in
            one task unless the strategy takes them independently of each other.
        cursor: Where to begin; moved to where it ended.
        result_amounts: Filled in by call, shape (n_calls, RESULT_AMOUNTS).
        result_marks: Filled in by call, shape (n_calls, RESULT_MARKS).
        event_amounts: Buffer of events, shape (capacity, EVENT_AMOUNTS); capacity 0 writes none.
        event_marks: Buffer of events, shape (capacity, EVENT_MARKS).
        fill_amounts: Buffer of fills, shape (capacity, 2).
        fill_candles: Buffer of fills, shape (capacity,).

    Returns:
        Whether all tasks are done; else the buffers have to grow by `CURSOR_WANTED` rows at least.
    """
    trade = Trade(
        np.empty(AMOUNT_SLOTS, dtype=np.float64),
        np.empty(MARK_SLOTS, dtype=np.int64),
        np.empty(targets.shape[0], dtype=np.float64),
        np.zeros(legs.shape[0], dtype=np.int64),
        np.zeros(legs.shape[0], dtype=np.float64),
        np.zeros(legs.shape[0], dtype=np.int64),
    )
    run = np.empty(RUN_SLOTS, dtype=np.int64)
    run[RUN_CHOICES] = choices.ctypes.data
    run[RUN_QUANTITIES] = quantities.ctypes.data
    run[RUN_TARGETS] = targets.ctypes.data
    run[RUN_TARGET_COUNT] = targets.shape[0]
    run[RUN_LEGS] = legs.ctypes.data
    run[RUN_LEG_COUNT] = legs.shape[0]
    run[RUN_LEG_SIGNALS] = leg_signals.ctypes.data
    run[RUN_SIGNAL_COUNT] = signals.shape[1]
    run[RUN_CALL_TIMESTAMP] = timestamp.ctypes.data
    run[RUN_CALL_KIND] = kind.ctypes.data
    run[RUN_CALL_COUNT] = timestamp.shape[0]
    run[RUN_ACTION] = action.ctypes.data
    run[RUN_ACTION_COUNT] = action.shape[0]
    run[RUN_FIRST_ACTION] = first_action.ctypes.data
    run[RUN_END_ACTION] = end_action.ctypes.data
    run[RUN_IS_USED] = is_used.ctypes.data
    run[RUN_EVENT_AMOUNTS] = event_amounts.ctypes.data
    run[RUN_EVENT_MARKS] = event_marks.ctypes.data
    run[RUN_EVENT_COUNT] = event_marks.shape[0]
    run[RUN_FILL_AMOUNTS] = fill_amounts.ctypes.data
    run[RUN_FILL_CANDLES] = fill_candles.ctypes.data
    run[RUN_FILL_COUNT] = fill_candles.shape[0]
    run[RUN_AMOUNTS] = trade.amounts.ctypes.data
    run[RUN_MARKS] = trade.marks.ctypes.data
    run[RUN_TARGET_PRICES] = trade.target_prices.ctypes.data
    run[RUN_LEG_ARMED] = trade.leg_armed.ctypes.data
    run[RUN_LEG_LIMITS] = trade.leg_limits.ctypes.data
    run[RUN_LEG_ORDER] = trade.leg_order.ctypes.data
    overlap = choices[Choice.OVERLAP]
    latency = choices[Choice.LATENCY_SECONDS]
    while cursor[CURSOR_TASK] < tasks.shape[0]:
        task = tasks[cursor[CURSOR_TASK]]
        token, first_call, end_call = task[TASK_TOKEN], task[TASK_FIRST_CALL], task[TASK_END_CALL]
        market = market_at_nb(markets[token])
        run[:MARKET_COLUMNS] = markets[token]
        run[RUN_SIGNALS] = signals[token].ctypes.data
        if cursor[CURSOR_PHASE] == PHASE_ENTRIES:
            if cursor[CURSOR_CALL] < first_call:
                cursor[CURSOR_CALL] = first_call
                cursor[CURSOR_BLOCKED_UNTIL] = -1
            while cursor[CURSOR_CALL] < end_call:
                call = cursor[CURSOR_CALL]
                if kind[call] == CALL_ENTRY and (overlap != OverlapKind.INDEPENDENT or is_reported[call] != 0):
                    start = first_candle_at_nb(market.time, timestamp[call] + latency)
                    if not _has_room_nb(run, cursor, _most_events_nb(run, call, start)):
                        return False
                    reset_nb(run, cursor[CURSOR_EVENTS], cursor[CURSOR_FILLS])
                    steps = 0
                    if (
                        start == market.n
                        or market.time[start] - timestamp[call] > choices[Choice.MAX_STALENESS_SECONDS]
                    ):
                        _write_skipped_call_nb(run, timestamp[call], REASON_NO_CANDLES, -1)
                    elif overlap != OverlapKind.INDEPENDENT and start <= cursor[CURSOR_BLOCKED_UNTIL]:
                        _write_skipped_call_nb(run, timestamp[call], REASON_OVERLAP, start)
                    else:
                        steps = _run_trade_nb(run, call, start)
                        cursor[CURSOR_BLOCKED_UNTIL] = trade.marks[DONE_IN]
                    _keep_result_nb(run, cursor, result_amounts[call], result_marks[call], steps)
                cursor[CURSOR_CALL] = call + 1
            cursor[CURSOR_PHASE] = PHASE_SCALE_INS
            cursor[CURSOR_CALL] = first_call
        if overlap == OverlapKind.SCALE_IN:
            while cursor[CURSOR_CALL] < end_call:
                call = cursor[CURSOR_CALL]
                if kind[call] == CALL_SCALE_IN and is_used[call] == 0:
                    if not _has_room_nb(run, cursor, 1):
                        return False
                    reset_nb(run, cursor[CURSOR_EVENTS], cursor[CURSOR_FILLS])
                    acts_in = first_candle_at_nb(market.time, timestamp[call] + latency)
                    candle = acts_in if acts_in < market.n else -1
                    _write_skipped_call_nb(run, timestamp[call], REASON_NOTHING_TO_SCALE, candle)
                    _keep_result_nb(run, cursor, result_amounts[call], result_marks[call], 0)
                cursor[CURSOR_CALL] = call + 1
        cursor[CURSOR_PHASE] = PHASE_ENTRIES
        cursor[CURSOR_CALL] = -1
        cursor[CURSOR_TASK] += 1
    # Read here, so that the state outlives every use of its address.
    return trade.marks.shape[0] == MARK_SLOTS
