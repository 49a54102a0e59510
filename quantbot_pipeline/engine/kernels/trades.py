"""The kernel that takes trades through their candles: `docs/engine.md` sections 3 to 6.

A trade is two small arrays (`Trade.amounts`, `Trade.marks`, by the slots below) and a few more for targets
and legs. `_step_nb` does one candle exactly, in the order of the document; between two candles in which
something can happen `_skip_quiet_nb` runs over those in which nothing can, moving only the peak, the trailing
stop and the extremes. It stops early rather than late: a candle that turns out quiet costs a step, no more.

Candles are named by their index in the token, calls by their position in the arrays of `Calls`, legs and
targets from 0. -1 stands for none.
"""

# ruff: noqa: FBT001, FBT003 - kernels call each other by position, with flags among the arguments
# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from typing import NamedTuple

import numpy as np
from numba import carray

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.market import (
    MARKET_COLUMNS,
    byte_pointer_nb,
    first_candle_at_nb,
    float_pointer_nb,
    inner,
    inner_without_nan,
    int_pointer_nb,
    market_at_nb,
    outer,
    slippage_nb,
)
from quantbot_pipeline.strategy.compile import (
    BreakEvenKind,
    Choice,
    EndReason,
    EntryKind,
    OverlapKind,
    Quantity,
)

ZERO_SIZE = 1e-12
"""Shares of a cycle's quantity below this are zero."""

# What a call asks for.
CALL_ENTRY, CALL_EXIT, CALL_SCALE_OUT, CALL_SCALE_IN = range(4)

# Event types, in the order of `EventType`.
(
    ENTRY,
    LADDER_ENTRY,
    SCALE_IN,
    RE_ENTRY,
    TARGET_HIT,
    STOP_LOSS,
    TRAILING_STOP,
    SIGNAL_EXIT,
    TIME_EXIT,
    FINAL_EXIT,
    STOP_MOVED,
    ENTRY_SKIPPED,
) = range(12)

# Kinds of orders, and of what set the stop in force.
ORDER_NONE, ORDER_MARKET, ORDER_LIMIT, ORDER_STOP_BUY, ORDER_STOP = range(5)
STOP_NONE, STOP_INITIAL, STOP_BREAK_EVEN, STOP_TRAILING = range(4)

# Reasons in an event's metadata.
(
    REASON_NONE,
    REASON_HORIZON,
    REASON_MAX_HOLD,
    REASON_EXIT_CALL,
    REASON_SIGNAL,
    REASON_END_OF_DATA,
    REASON_SCALE_IN_CALL,
    REASON_TIMEOUT,
    REASON_BREAK_EVEN,
    REASON_TRAILING,
    REASON_NO_CANDLES,
    REASON_OVERLAP,
    REASON_NOTHING_TO_SCALE,
) = range(13)

# Columns of an event's numbers.
EVENT_PRICE, EVENT_SIZE, EVENT_REMAINING, EVENT_PNL, EVENT_QUANTITY, EVENT_AVERAGE, EVENT_STOP, EVENT_PEAK = range(8)
EVENT_AMOUNTS = 8

# Columns of an event's whole numbers. EVENT_CLOSE is the last closed candle, NO_CANDLE without any candle.
(
    EVENT_TIME,
    EVENT_TYPE,
    EVENT_CLOSE,
    EVENT_CYCLE,
    EVENT_ORDER,
    EVENT_GAP,
    EVENT_LEG,
    EVENT_TARGET,
    EVENT_REASON,
    EVENT_STOP_KIND,
    EVENT_CALL,
) = range(11)
EVENT_MARKS = 11
NO_CANDLE = -2

# Columns of what is kept of a fill: open quantity, and cash in - cash out, after it.
FILL_QUANTITY, FILL_CASH = range(2)

# Columns of a trade's result.
RESULT_PNL, RESULT_CASH_SPENT, RESULT_ADVERSE, RESULT_FAVOURABLE = range(4)
RESULT_AMOUNTS = 4
(
    RESULT_IS_TRADE,
    RESULT_ENTERED_AT,
    RESULT_LAST_FILL_AT,
    RESULT_DONE_AT,
    RESULT_HOLDING_SECONDS,
    RESULT_RE_ENTRIES,
    RESULT_LADDER_ENTRIES,
    RESULT_TARGET_HITS,
    RESULT_FIRST_EVENT,
    RESULT_EVENTS,
    RESULT_FIRST_FILL,
    RESULT_FILLS,
    RESULT_STEPS,
) = range(13)
RESULT_MARKS = 13

# Where the kernel stands in its task: what to do next, and what it needs to go on.
CURSOR_TASK, CURSOR_PHASE, CURSOR_CALL, CURSOR_EVENTS, CURSOR_FILLS, CURSOR_BLOCKED_UNTIL, CURSOR_WANTED = range(7)
CURSOR_SLOTS = 7
PHASE_ENTRIES, PHASE_SCALE_INS = range(2)

# Columns of a task.
TASK_TOKEN, TASK_FIRST_CALL, TASK_END_CALL = range(3)

# Slots of `Trade.amounts`.
(
    REFERENCE,
    AVERAGE,
    PEAK,
    STOP,
    BOUGHT,
    QUANTITY,
    COST,
    CASH_SPENT,
    PROCEEDS,
    REALISED,
    HIGHEST_HIGH,
    LOWEST_LOW,
    ADVERSE,
    FAVOURABLE,
    FILL_LOWEST,
    FILL_HIGHEST,
) = range(16)
AMOUNT_SLOTS = 16

# Slots of `Trade.marks`.
(
    START,
    HORIZON_CANDLE,
    DONE_IN,
    PLAN,
    PLAN_LAST,
    ARMED_FROM,
    CYCLES,
    IS_HELD,
    BEGAN_IN,
    BEGAN_INSIDE,
    ENDED_IN,
    FIRST_BEGAN_IN,
    FIRST_BEGAN_INSIDE,
    MAX_HOLD_CANDLE,
    NEXT_TARGET,
    STOP_KIND,
    IS_BREAK_EVEN_DUE,
    IS_BREAK_EVEN_ARMED,
    IS_TRAILING_ARMED,
    HAS_AVERAGE_CHANGED,
    FILL_CANDLE,
    EVENTS,
    FILLS,
    LAST_EVENT_TIME,
    HOLDING_SECONDS,
    RE_ENTRIES,
    LADDER_ENTRIES,
    TARGET_HITS,
    ACTION,
    ACTION_END,
    ACTION_CANDLE,
) = range(31)
MARK_SLOTS = 31

BLOCK = 32
"""Candles that are looked at together while nothing happens: their extremes take vector instructions."""

NO_PLAN = 0
NO_STOP = -np.inf
NO_LIMIT = -np.inf
NO_PRICE = np.inf


class Rules(NamedTuple):
    """A strategy as compiled, and what its signals say at each close of the token (one byte per candle)."""

    choices: IntArray
    quantities: FloatArray
    targets: FloatArray
    legs: FloatArray
    leg_signals: IntArray
    signals: IntArray


class Calls(NamedTuple):
    """Calls of all tokens, by position; `action` lists those that act on trades, by caller and time."""

    timestamp: IntArray
    kind: IntArray
    action: IntArray
    first_action: IntArray
    end_action: IntArray
    is_used: IntArray


class Output(NamedTuple):
    """Buffers that events and fills are written to; without room for events none are written."""

    event_amounts: FloatArray
    event_marks: IntArray
    fill_amounts: FloatArray
    fill_candles: IntArray


class Trade(NamedTuple):
    """State of one trade; `leg_order` lists the legs with a limit in descending price."""

    amounts: FloatArray
    marks: IntArray
    target_prices: FloatArray
    leg_armed: IntArray
    leg_limits: FloatArray
    leg_order: IntArray


# A run is one array of addresses and lengths: it costs one argument, where the arrays themselves would cost every
# call two hundred. It begins with the row of the token's market.
(
    RUN_CHOICES,
    RUN_QUANTITIES,
    RUN_TARGETS,
    RUN_TARGET_COUNT,
    RUN_LEGS,
    RUN_LEG_COUNT,
    RUN_LEG_SIGNALS,
    RUN_SIGNALS,
    RUN_SIGNAL_COUNT,
    RUN_CALL_TIMESTAMP,
    RUN_CALL_KIND,
    RUN_CALL_COUNT,
    RUN_ACTION,
    RUN_ACTION_COUNT,
    RUN_FIRST_ACTION,
    RUN_END_ACTION,
    RUN_IS_USED,
    RUN_EVENT_AMOUNTS,
    RUN_EVENT_MARKS,
    RUN_EVENT_COUNT,
    RUN_FILL_AMOUNTS,
    RUN_FILL_CANDLES,
    RUN_FILL_COUNT,
    RUN_AMOUNTS,
    RUN_MARKS,
    RUN_TARGET_PRICES,
    RUN_LEG_ARMED,
    RUN_LEG_LIMITS,
    RUN_LEG_ORDER,
) = range(MARKET_COLUMNS, MARKET_COLUMNS + 29)
RUN_SLOTS = MARKET_COLUMNS + 29

CHOICES, QUANTITIES = len(Choice), len(Quantity)


@inner
def _rules_of_nb(run: IntArray) -> Rules:
    legs = run[RUN_LEG_COUNT]
    return Rules(
        carray(int_pointer_nb(run[RUN_CHOICES]), (CHOICES,)),
        carray(float_pointer_nb(run[RUN_QUANTITIES]), (QUANTITIES,)),
        carray(float_pointer_nb(run[RUN_TARGETS]), (run[RUN_TARGET_COUNT], 2)),
        carray(float_pointer_nb(run[RUN_LEGS]), (legs, 2)),
        carray(int_pointer_nb(run[RUN_LEG_SIGNALS]), (legs,)),
        carray(int_pointer_nb(run[RUN_SIGNALS]), (run[RUN_SIGNAL_COUNT],)),
    )


@inner
def _calls_of_nb(run: IntArray) -> Calls:
    calls = run[RUN_CALL_COUNT]
    return Calls(
        carray(int_pointer_nb(run[RUN_CALL_TIMESTAMP]), (calls,)),
        carray(int_pointer_nb(run[RUN_CALL_KIND]), (calls,)),
        carray(int_pointer_nb(run[RUN_ACTION]), (run[RUN_ACTION_COUNT],)),
        carray(int_pointer_nb(run[RUN_FIRST_ACTION]), (calls,)),
        carray(int_pointer_nb(run[RUN_END_ACTION]), (calls,)),
        carray(int_pointer_nb(run[RUN_IS_USED]), (calls,)),
    )


@inner
def _output_of_nb(run: IntArray) -> Output:
    events, fills = run[RUN_EVENT_COUNT], run[RUN_FILL_COUNT]
    return Output(
        carray(float_pointer_nb(run[RUN_EVENT_AMOUNTS]), (events, EVENT_AMOUNTS)),
        carray(int_pointer_nb(run[RUN_EVENT_MARKS]), (events, EVENT_MARKS)),
        carray(float_pointer_nb(run[RUN_FILL_AMOUNTS]), (fills, 2)),
        carray(int_pointer_nb(run[RUN_FILL_CANDLES]), (fills,)),
    )


@inner
def _trade_of_nb(run: IntArray) -> Trade:
    legs = run[RUN_LEG_COUNT]
    return Trade(
        carray(float_pointer_nb(run[RUN_AMOUNTS]), (AMOUNT_SLOTS,)),
        carray(int_pointer_nb(run[RUN_MARKS]), (MARK_SLOTS,)),
        carray(float_pointer_nb(run[RUN_TARGET_PRICES]), (run[RUN_TARGET_COUNT],)),
        carray(int_pointer_nb(run[RUN_LEG_ARMED]), (legs,)),
        carray(float_pointer_nb(run[RUN_LEG_LIMITS]), (legs,)),
        carray(int_pointer_nb(run[RUN_LEG_ORDER]), (legs,)),
    )


@inner
def _has_held_nb(run: IntArray, slot: int, i: int) -> bool:
    """Return whether a signal held at the close of candle i."""
    rules = _rules_of_nb(run)
    return carray(byte_pointer_nb(rules.signals[slot]), (i + 1,))[i] != 0


@inner
def _write_event_nb(
    run: IntArray,
    time: int,
    event_type: int,
    price: float,
    size: float,
    close: int,
    order: int,
    is_gap: bool,
    leg: int,
    target: int,
    reason: int,
    stop_kind: int,
    call: int,
) -> None:
    """Write an event; `close` is the last candle that was closed when it happened."""
    trade, output = _trade_of_nb(run), _output_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    marks[LAST_EVENT_TIME] = time
    if output.event_marks.shape[0] == 0:
        return
    e = marks[EVENTS]
    marks[EVENTS] = e + 1
    row, numbers = output.event_marks[e], output.event_amounts[e]
    row[EVENT_TIME] = time
    row[EVENT_TYPE] = event_type
    row[EVENT_CLOSE] = close
    row[EVENT_ORDER] = order
    row[EVENT_GAP] = 1 if is_gap else 0
    row[EVENT_LEG] = leg
    row[EVENT_TARGET] = target
    row[EVENT_REASON] = reason
    row[EVENT_STOP_KIND] = stop_kind
    row[EVENT_CALL] = call
    numbers[EVENT_PRICE] = price
    numbers[EVENT_SIZE] = size
    numbers[EVENT_PNL] = amounts[REALISED]
    if marks[IS_HELD] != 0:
        row[EVENT_CYCLE] = marks[CYCLES]
        numbers[EVENT_REMAINING] = amounts[QUANTITY] / amounts[BOUGHT]
        numbers[EVENT_QUANTITY] = amounts[QUANTITY]
        numbers[EVENT_AVERAGE] = amounts[AVERAGE]
        numbers[EVENT_STOP] = amounts[STOP]
        numbers[EVENT_PEAK] = amounts[PEAK]
    else:
        row[EVENT_CYCLE] = 0
        numbers[EVENT_REMAINING] = 0.0
        numbers[EVENT_QUANTITY:] = 0.0


@inner
def _keep_fill_nb(run: IntArray, i: int, price: float) -> None:
    """Keep what marks and excursions need of a fill."""
    trade, output = _trade_of_nb(run), _output_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    ratio = price / amounts[AVERAGE]
    if marks[FILL_CANDLE] != i:
        marks[FILL_CANDLE] = i
        amounts[FILL_LOWEST] = ratio
        amounts[FILL_HIGHEST] = ratio
    else:
        amounts[FILL_LOWEST] = min(amounts[FILL_LOWEST], ratio)
        amounts[FILL_HIGHEST] = max(amounts[FILL_HIGHEST], ratio)
    row = marks[FILLS]
    marks[FILLS] = row + 1
    output.fill_candles[row] = i
    output.fill_amounts[row, FILL_QUANTITY] = amounts[QUANTITY]
    output.fill_amounts[row, FILL_CASH] = amounts[PROCEEDS] - amounts[CASH_SPENT]


@inner
def _count_excursion_nb(run: IntArray, lowest_ratio: float, highest_ratio: float) -> None:
    """Count prices while open, as ratios to the average entry."""
    trade = _trade_of_nb(run)
    amounts = trade.amounts
    amounts[ADVERSE] = min(amounts[ADVERSE], lowest_ratio - 1.0)
    amounts[FAVOURABLE] = max(amounts[FAVOURABLE], highest_ratio - 1.0)


@inner
def _buy_nb(
    run: IntArray,
    i: int,
    event_type: int,
    cash: float,
    raw_price: float,
    order: int,
    is_inside: bool,
    is_gap: bool,
    leg: int,
    reason: int,
    call: int,
) -> None:
    """Spend cash at a raw price; begin a cycle when flat. Limits fill without slippage."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    price = raw_price
    if order != ORDER_LIMIT:
        price = raw_price * (1.0 + slippage_nb(market, rules.choices, rules.quantities, i, cash))
    quantity = cash / (price * (1.0 + rules.quantities[Quantity.FEE]))
    if marks[IS_HELD] == 0:
        marks[IS_HELD] = 1
        marks[CYCLES] += 1
        marks[BEGAN_IN] = i
        marks[BEGAN_INSIDE] = 1 if is_inside else 0
        if marks[CYCLES] == 1:
            marks[FIRST_BEGAN_IN] = i
            marks[FIRST_BEGAN_INSIDE] = marks[BEGAN_INSIDE]
        marks[MAX_HOLD_CANDLE] = market.n
        if rules.choices[Choice.MAX_HOLD_SECONDS] >= 0:
            marks[MAX_HOLD_CANDLE] = first_candle_at_nb(
                market.time, market.time[i] + rules.choices[Choice.MAX_HOLD_SECONDS]
            )
        marks[NEXT_TARGET] = 0
        marks[STOP_KIND] = STOP_INITIAL
        marks[IS_BREAK_EVEN_DUE] = 0
        marks[IS_BREAK_EVEN_ARMED] = 0
        marks[IS_TRAILING_ARMED] = 0
        amounts[AVERAGE] = price
        amounts[PEAK] = price
        amounts[STOP] = NO_STOP
        if rules.choices[Choice.HAS_STOP] != 0:
            amounts[STOP] = price * rules.quantities[Quantity.STOP_FACTOR]
        amounts[BOUGHT] = 0.0
        amounts[QUANTITY] = 0.0
        amounts[COST] = 0.0
        for k in range(trade.target_prices.shape[0]):
            trade.target_prices[k] = price * rules.targets[k, 0]
    amounts[BOUGHT] += quantity
    amounts[QUANTITY] += quantity
    # By difference, as in the reference engine: buys at one price leave exactly that price.
    amounts[AVERAGE] += (price - amounts[AVERAGE]) * (quantity / amounts[BOUGHT])
    amounts[COST] += cash
    amounts[CASH_SPENT] += cash
    marks[HAS_AVERAGE_CHANGED] = 1
    if event_type == LADDER_ENTRY:
        marks[LADDER_ENTRIES] += 1
    elif event_type == RE_ENTRY:
        marks[RE_ENTRIES] += 1
    _keep_fill_nb(run, i, price)
    _write_event_nb(run, market.time[i], event_type, price, cash, i - 1, order, is_gap, leg, 0, reason, STOP_NONE, call)


@inner
def _end_reason_nb(event_type: int) -> int:
    """Return the bit of a cycle's end by the sell that emptied it; 0 for a final exit."""
    if event_type == TARGET_HIT:
        return EndReason.TARGET.value
    if event_type == STOP_LOSS:
        return EndReason.STOP.value
    if event_type == TRAILING_STOP:
        return EndReason.TRAILING.value
    if event_type == SIGNAL_EXIT:
        return EndReason.SIGNAL.value
    if event_type == TIME_EXIT:
        return EndReason.TIME.value
    return 0


@inner
def _sell_nb(
    run: IntArray,
    i: int,
    event_type: int,
    wanted: float,
    raw_price: float,
    order: int,
    is_gap: bool,
    target: int,
    reason: int,
    stop_kind: int,
    call: int,
    is_at_close: bool,
) -> None:
    """Sell a quantity of the open cycle at a raw price, at most all of it; end the cycle when flat."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    quantity = wanted
    if amounts[QUANTITY] - quantity < ZERO_SIZE * amounts[BOUGHT]:
        quantity = amounts[QUANTITY]
    price = raw_price
    if event_type != TARGET_HIT:
        notional = quantity * raw_price
        price = raw_price * (1.0 - slippage_nb(market, rules.choices, rules.quantities, i, notional))
    else:
        marks[TARGET_HITS] += 1
    proceeds = quantity * price * (1.0 - rules.quantities[Quantity.FEE])
    cost = amounts[COST] * (quantity / amounts[QUANTITY])
    size = quantity / amounts[BOUGHT]
    amounts[COST] -= cost
    amounts[QUANTITY] -= quantity
    amounts[PROCEEDS] += proceeds
    amounts[REALISED] += proceeds - cost
    _keep_fill_nb(run, i, price)
    time = market.time[i]
    close = i - 1
    if is_at_close:
        time += market.interval
        close = i
    _write_event_nb(run, time, event_type, price, size, close, order, is_gap, -1, target, reason, stop_kind, call)
    if amounts[QUANTITY] != 0.0:
        return
    marks[HOLDING_SECONDS] += time - market.time[marks[BEGAN_IN]]
    _count_excursion_nb(run, amounts[FILL_LOWEST], amounts[FILL_HIGHEST])
    marks[IS_HELD] = 0
    marks[ENDED_IN] = i
    marks[PLAN] = NO_PLAN
    choices = rules.choices
    if (choices[Choice.RE_ENTRY_REASONS] & _end_reason_nb(event_type)) == 0 or marks[RE_ENTRIES] >= choices[
        Choice.RE_ENTRY_COUNT
    ]:
        marks[DONE_IN] = i
        return
    marks[PLAN] = EntryKind.RE_ENTRY
    wait_ends = market.time[i] + choices[Choice.RE_ENTRY_WAIT_SECONDS]
    marks[PLAN_LAST] = first_candle_at_nb(market.time, wait_ends + 1) - 1


@inner
def _sell_all_at_market_nb(run: IntArray, i: int, event_type: int, reason: int, call: int) -> None:
    """Sell all at the open."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    quantity = trade.amounts[QUANTITY]
    price = market.open[i]
    _sell_nb(run, i, event_type, quantity, price, ORDER_MARKET, False, 0, reason, STOP_NONE, call, False)


@inner
def _sell_at_stop_nb(run: IntArray, i: int, raw_price: float, is_gap: bool) -> None:
    trade = _trade_of_nb(run)
    kind = trade.marks[STOP_KIND]
    event_type = TRAILING_STOP if kind == STOP_TRAILING else STOP_LOSS
    quantity = trade.amounts[QUANTITY]
    _sell_nb(run, i, event_type, quantity, raw_price, ORDER_STOP, is_gap, 0, REASON_NONE, kind, -1, False)


@inner
def _skip_nb(run: IntArray, time: int, reason: int, close: int) -> None:
    """Write that the trade bought nothing."""
    trade = _trade_of_nb(run)
    _write_event_nb(
        run, time, ENTRY_SKIPPED, trade.amounts[REFERENCE], 0.0, close, ORDER_NONE, False, -1, 0, reason, STOP_NONE, -1
    )


@inner
def _fill_nb(run: IntArray, i: int, price: float, order: int, leg: int, is_inside: bool, is_gap: bool) -> None:
    """Fill an order of the plan at a raw price, and tell the plan."""
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
    marks = trade.marks
    plan = marks[PLAN]
    if marks[CYCLES] == 0:
        event_type = ENTRY
    elif plan == EntryKind.RE_ENTRY:
        event_type = RE_ENTRY
    else:
        event_type = LADDER_ENTRY
    size = 1.0
    if plan == EntryKind.LADDER:
        size = rules.legs[leg, 1]
        trade.leg_armed[leg] = 0
        if rules.choices[Choice.IS_SEQUENTIAL] != 0:
            marks[ARMED_FROM] = i + 1
            if leg + 1 < rules.legs.shape[0]:
                trade.leg_armed[leg + 1] = 1
        is_filled = True
        for k in range(rules.legs.shape[0]):
            if trade.leg_armed[k] != 0:
                is_filled = False
        if is_filled:
            marks[PLAN] = NO_PLAN
    else:
        marks[PLAN] = NO_PLAN
        if plan == EntryKind.RE_ENTRY:
            size = rules.quantities[Quantity.RE_ENTRY_SIZE]
    _buy_nb(run, i, event_type, size, price, order, is_inside, is_gap, leg, REASON_NONE, -1)


@inner
def _begin_plan_nb(run: IntArray, start: int) -> None:
    """Let the orders of the entry come to rest from candle a on."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    marks, choices = trade.marks, rules.choices
    reference = trade.amounts[REFERENCE]
    plan = choices[Choice.ENTRY]
    marks[PLAN] = plan
    marks[PLAN_LAST] = start
    marks[ARMED_FROM] = start
    if plan != EntryKind.IMMEDIATE:
        wait_ends = market.time[start] + choices[Choice.MAX_WAIT_SECONDS]
        marks[PLAN_LAST] = first_candle_at_nb(market.time, wait_ends + 1) - 1
    if plan != EntryKind.LADDER:
        return
    is_sequential = choices[Choice.IS_SEQUENTIAL] != 0
    limits = 0
    for k in range(rules.legs.shape[0]):
        trade.leg_armed[k] = 1 if k == 0 or not is_sequential else 0
        trade.leg_order[k] = -1
        if rules.leg_signals[k] >= 0:
            continue
        price = reference * (1.0 + rules.legs[k, 0])
        trade.leg_limits[k] = price
        # Insertion keeps legs of equal price in their own order.
        at = limits
        while at > 0 and trade.leg_limits[trade.leg_order[at - 1]] < price:
            trade.leg_order[at] = trade.leg_order[at - 1]
            at -= 1
        trade.leg_order[at] = k
        limits += 1


@inner
def _is_due_at_open_nb(run: IntArray, leg: int, i: int) -> bool:
    """Return whether a leg is a market buy at the open of candle i."""
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
    marks = trade.marks
    if trade.leg_armed[leg] == 0:
        return False
    slot = rules.leg_signals[leg]
    if slot < 0:
        return i == marks[START] and rules.legs[leg, 0] == 0.0
    decided_at = i - 1
    if decided_at < marks[ARMED_FROM] or decided_at > marks[PLAN_LAST]:
        return False
    return _has_held_nb(run, slot, decided_at)


@inner
def _fill_market_orders_nb(run: IntArray, i: int) -> None:
    """Fill what the plan buys at the open of candle i."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    marks = trade.marks
    plan = marks[PLAN]
    price = market.open[i]
    if plan == EntryKind.IMMEDIATE:
        if i == marks[START]:
            _fill_nb(run, i, price, ORDER_MARKET, -1, False, False)
    elif plan == EntryKind.SIGNAL:
        decided_at = i - 1
        if (
            decided_at >= marks[START]
            and decided_at <= marks[PLAN_LAST]
            and _has_held_nb(run, rules.choices[Choice.ENTRY_SIGNAL], decided_at)
        ):
            _fill_nb(run, i, price, ORDER_MARKET, -1, False, False)
    elif plan == EntryKind.LADDER:
        for k in range(rules.legs.shape[0]):
            if _is_due_at_open_nb(run, k, i):
                _fill_nb(run, i, price, ORDER_MARKET, k, False, False)
                if rules.choices[Choice.IS_SEQUENTIAL] != 0:
                    break


@inner
def _buy_at_open_nb(run: IntArray, i: int) -> None:
    """Fill the plan's market orders; where its wait is over, end it."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    marks = trade.marks
    _fill_market_orders_nb(run, i)
    if marks[PLAN] == NO_PLAN or i <= marks[PLAN_LAST]:
        return
    marks[PLAN] = NO_PLAN
    if marks[CYCLES] == 0:
        if rules.choices[Choice.BUYS_ON_TIMEOUT] != 0:
            price = market.open[i]
            _buy_nb(run, i, ENTRY, 1.0, price, ORDER_MARKET, False, False, -1, REASON_TIMEOUT, -1)
        else:
            _skip_nb(run, market.time[i], REASON_TIMEOUT, i - 1)
            marks[DONE_IN] = i
    elif marks[IS_HELD] == 0:
        marks[DONE_IN] = i


@inner
def _is_effective_nb(run: IntArray, kind: int) -> bool:
    """Return whether the strategy listens to calls of a kind."""
    rules = _rules_of_nb(run)
    if kind == CALL_SCALE_IN:
        return rules.choices[Choice.OVERLAP] == OverlapKind.SCALE_IN
    return rules.choices[Choice.SELLS_ON_EXIT_CALL] != 0


@inner
def _find_action_nb(run: IntArray, i: int) -> None:
    """Move to the first call of the caller that acts at the open of candle i or later."""
    market, rules, trade, calls = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run), _calls_of_nb(run)
    marks = trade.marks
    while marks[ACTION] < marks[ACTION_END]:
        if marks[ACTION_CANDLE] < 0:
            call = calls.action[marks[ACTION]]
            if _is_effective_nb(run, calls.kind[call]):
                acts_at = calls.timestamp[call] + rules.choices[Choice.LATENCY_SECONDS]
                marks[ACTION_CANDLE] = first_candle_at_nb(market.time, acts_at)
        if marks[ACTION_CANDLE] >= i:
            return
        marks[ACTION] += 1
        marks[ACTION_CANDLE] = -1
    marks[ACTION_CANDLE] = market.n


@inner
def _end_of_actions_nb(run: IntArray, i: int) -> int:
    """Return the end of the calls that act at the open of candle i; the first one is the current action."""
    market, rules, trade, calls = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run), _calls_of_nb(run)
    marks = trade.marks
    end = marks[ACTION]
    while end < marks[ACTION_END]:
        acts_at = calls.timestamp[calls.action[end]] + rules.choices[Choice.LATENCY_SECONDS]
        if first_candle_at_nb(market.time, acts_at) != i:
            break
        end += 1
    return end


@inner
def _sell_at_open_nb(run: IntArray, i: int, end_of_actions: int) -> None:
    """Sell all for the first reason that applies, else what scale-out calls ask for."""
    market, rules, trade, calls = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run), _calls_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    if i >= marks[MAX_HOLD_CANDLE]:
        _sell_all_at_market_nb(run, i, TIME_EXIT, REASON_MAX_HOLD, -1)
        return
    sells = rules.choices[Choice.SELLS_ON_EXIT_CALL] != 0
    if sells:
        for action in range(marks[ACTION], end_of_actions):
            call = calls.action[action]
            if calls.kind[call] == CALL_EXIT:
                _sell_all_at_market_nb(run, i, SIGNAL_EXIT, REASON_EXIT_CALL, call)
                return
    slot = rules.choices[Choice.EXIT_SIGNAL]
    if slot >= 0 and _has_held_nb(run, slot, i - 1):
        _sell_all_at_market_nb(run, i, SIGNAL_EXIT, REASON_SIGNAL, -1)
        return
    if sells:
        for action in range(marks[ACTION], end_of_actions):
            call = calls.action[action]
            if calls.kind[call] == CALL_SCALE_OUT and marks[IS_HELD] != 0:
                _sell_nb(
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
    market, rules, trade, calls = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run), _calls_of_nb(run)
    if rules.choices[Choice.OVERLAP] != OverlapKind.SCALE_IN:
        return
    size = rules.quantities[Quantity.SCALE_IN_SIZE]
    for action in range(trade.marks[ACTION], end_of_actions):
        call = calls.action[action]
        if calls.kind[call] == CALL_SCALE_IN:
            calls.is_used[call] = 1
            _buy_nb(run, i, SCALE_IN, size, market.open[i], ORDER_MARKET, False, False, -1, REASON_SCALE_IN_CALL, call)


@inner
def _at_open_nb(run: IntArray, i: int) -> None:
    """Fill market orders: sales first, then buys."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    marks = trade.marks
    if i >= marks[HORIZON_CANDLE]:
        if marks[IS_HELD] != 0:
            _sell_all_at_market_nb(run, i, TIME_EXIT, REASON_HORIZON, -1)
        elif marks[CYCLES] == 0:
            _skip_nb(run, market.time[i], REASON_HORIZON, i - 1)
        marks[PLAN] = NO_PLAN
        marks[DONE_IN] = i
        return
    _find_action_nb(run, i)
    end_of_actions = marks[ACTION]
    if marks[ACTION_CANDLE] == i:
        end_of_actions = _end_of_actions_nb(run, i)
    if marks[IS_HELD] != 0:
        _sell_at_open_nb(run, i, end_of_actions)
    if marks[ENDED_IN] == i:
        return
    if marks[PLAN] != NO_PLAN:
        _buy_at_open_nb(run, i)
    if marks[IS_HELD] != 0 and end_of_actions > marks[ACTION]:
        _scale_in_nb(run, i, end_of_actions)


@inner
def _fill_targets_nb(run: IntArray, i: int, reached: float, is_at_open: bool) -> None:
    """Fill the targets at or below the price that was reached, in ascending order."""
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
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
        _sell_nb(
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


@inner
def _single_limit_nb(run: IntArray, i: int) -> float:
    """Return the limit of a plan that has one limit at most; -inf where none rests in candle i."""
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
    marks = trade.marks
    if i > marks[PLAN_LAST]:
        return NO_LIMIT
    if marks[PLAN] == EntryKind.DIP:
        return trade.amounts[REFERENCE] * rules.quantities[Quantity.ENTRY_FACTOR]
    if marks[PLAN] == EntryKind.RE_ENTRY:
        # Before there is a high it is -inf, and so is the limit.
        return trade.amounts[HIGHEST_HIGH] * rules.quantities[Quantity.RE_ENTRY_FACTOR]
    return NO_LIMIT


@inner
def _fill_limits_nb(
    run: IntArray, i: int, reached: float, is_at_open: bool, above: float, stops_at_own_stop: bool
) -> None:
    """Fill the limits at or above the price that was reached, in descending price.

    Only limits above the price `above` fill, or, where `stops_at_own_stop`, above the stop of the cycle that the
    first of them began.
    """
    trade = _trade_of_nb(run)
    marks = trade.marks
    if marks[PLAN] != EntryKind.LADDER:
        limit = _single_limit_nb(run, i)
        if reached <= limit and limit > above:
            price = reached if is_at_open else limit
            _fill_nb(run, i, price, ORDER_LIMIT, -1, not is_at_open, is_at_open and reached < limit)
        return
    for position in range(trade.leg_order.shape[0]):
        leg = trade.leg_order[position]
        if leg < 0 or marks[PLAN] == NO_PLAN:
            return
        # Legs that a fill of this candle armed rest from the next one on.
        if trade.leg_armed[leg] == 0 or i < marks[ARMED_FROM] or i > marks[PLAN_LAST]:
            continue
        limit = trade.leg_limits[leg]
        floor = above
        if stops_at_own_stop:
            floor = trade.amounts[STOP] if marks[IS_HELD] != 0 else NO_STOP
        if reached <= limit and limit > floor:
            price = reached if is_at_open else limit
            _fill_nb(run, i, price, ORDER_LIMIT, leg, not is_at_open, is_at_open and reached < limit)


@inner
def _stop_buy_nb(run: IntArray, i: int) -> float:
    """Return the trigger of the stop-buy that rests in candle i; infinity without one."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    if marks[PLAN] != EntryKind.REBOUND or i > marks[PLAN_LAST]:
        return NO_PRICE
    if i > marks[START]:
        amounts[LOWEST_LOW] = min(amounts[LOWEST_LOW], market.low[i - 1])
    return amounts[LOWEST_LOW] * rules.quantities[Quantity.ENTRY_FACTOR]


@inner
def _at_gaps_nb(run: IntArray, i: int) -> None:
    """Fill at the open what rests and whose price the open reached or passed."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    marks = trade.marks
    price = market.open[i]
    if marks[IS_HELD] != 0:
        if price <= trade.amounts[STOP] and marks[BEGAN_IN] < i:
            _sell_at_stop_nb(run, i, price, True)
            return
        _fill_targets_nb(run, i, price, True)
    if marks[PLAN] == NO_PLAN or marks[ENDED_IN] == i:
        return
    _fill_limits_nb(run, i, price, True, NO_STOP, False)
    trigger = _stop_buy_nb(run, i)
    if price >= trigger:
        _fill_nb(run, i, price, ORDER_STOP_BUY, -1, False, price > trigger)


@inner
def _inside_nb(run: IntArray, i: int) -> None:
    """Fill resting orders that the candle's low or high touched."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    low, high = market.low[i], market.high[i]
    is_pessimistic = rules.choices[Choice.IS_PESSIMISTIC] != 0
    if marks[IS_HELD] == 0:
        if marks[PLAN] == NO_PLAN:
            return
        trigger = _stop_buy_nb(run, i)
        if high >= trigger:
            _fill_nb(run, i, trigger, ORDER_STOP_BUY, -1, True, False)
        if marks[PLAN] != NO_PLAN:
            _fill_limits_nb(run, i, low, False, NO_STOP, True)
        if is_pessimistic and marks[IS_HELD] != 0 and low <= amounts[STOP]:
            _sell_at_stop_nb(run, i, amounts[STOP], False)
        return
    if is_pessimistic:
        if marks[PLAN] != NO_PLAN:
            _fill_limits_nb(run, i, low, False, amounts[STOP], False)
        if low <= amounts[STOP]:
            _sell_at_stop_nb(run, i, amounts[STOP], False)
        else:
            _fill_targets_nb(run, i, high, False)
        return
    _fill_targets_nb(run, i, high, False)
    if marks[IS_HELD] != 0 and marks[PLAN] != NO_PLAN:
        _fill_limits_nb(run, i, low, False, NO_STOP, False)
    if marks[IS_HELD] != 0 and low <= amounts[STOP]:
        _sell_at_stop_nb(run, i, amounts[STOP], False)


@inner
def _raise_stop_nb(run: IntArray, i: int, level: float, kind: int, reason: int, is_arming: bool) -> None:
    """Set the stop to the level unless it is higher already; say so when that is an arming."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    amounts = trade.amounts
    is_raised = level > amounts[STOP]
    if level >= amounts[STOP]:
        amounts[STOP] = level
        trade.marks[STOP_KIND] = kind
    if is_arming and is_raised:
        closes_at = market.time[i] + market.interval
        _write_event_nb(run, closes_at, STOP_MOVED, level, 0.0, i, ORDER_NONE, False, -1, 0, reason, STOP_NONE, -1)


@inner
def _move_stop_nb(run: IntArray, i: int) -> None:
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
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
def _at_close_nb(run: IntArray, i: int) -> None:
    """Move peak, stop and targets; they act from the next candle on."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    high = market.high[i]
    if marks[CYCLES] > 0 and not (marks[FIRST_BEGAN_IN] == i and marks[FIRST_BEGAN_INSIDE] != 0):
        amounts[HIGHEST_HIGH] = max(amounts[HIGHEST_HIGH], high)
    if marks[IS_HELD] == 0:
        return
    average = amounts[AVERAGE]
    if marks[BEGAN_IN] == i and marks[BEGAN_INSIDE] != 0:
        ratio = market.close[i] / average
        _count_excursion_nb(run, min(amounts[FILL_LOWEST], ratio), max(amounts[FILL_HIGHEST], ratio))
    else:
        amounts[PEAK] = max(amounts[PEAK], high)
        _count_excursion_nb(run, market.low[i] / average, high / average)
    _move_stop_nb(run, i)
    if marks[HAS_AVERAGE_CHANGED] != 0:
        for k in range(trade.target_prices.shape[0]):
            trade.target_prices[k] = average * rules.targets[k, 0]
        marks[HAS_AVERAGE_CHANGED] = 0


@inner
def _step_nb(run: IntArray, i: int) -> None:
    """Take the trade through candle i."""
    trade = _trade_of_nb(run)
    marks = trade.marks
    _at_open_nb(run, i)
    if marks[DONE_IN] < 0 and marks[ENDED_IN] != i:
        _at_gaps_nb(run, i)
    if marks[DONE_IN] < 0 and marks[ENDED_IN] != i:
        _inside_nb(run, i)
    if marks[DONE_IN] < 0:
        _at_close_nb(run, i)


@inner
def _highest_limit_nb(run: IntArray) -> float:
    """Return the highest limit of the ladder that can fill; -inf without one."""
    trade = _trade_of_nb(run)
    for position in range(trade.leg_order.shape[0]):
        leg = trade.leg_order[position]
        if leg < 0:
            break
        if trade.leg_armed[leg] != 0:
            return trade.leg_limits[leg]
    return NO_LIMIT


@inner
def _next_signal_nb(run: IntArray, begin: int, end: int) -> int:
    """Return the first candle in [begin, end) whose open a signal may act at; `end` if there is none."""
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
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
def _first_true_nb(run: IntArray, slot: int, begin: int, end: int) -> int:
    """Return the first candle in [begin, end) at whose close a signal held; `end` if there is none."""
    rules = _rules_of_nb(run)
    holds = carray(byte_pointer_nb(rules.signals[slot]), (end,))
    for i in range(begin, end):
        if holds[i] != 0:
            return i
    return end


@inner_without_nan
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
    rules, trade = _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks, choices, quantities = trade.amounts, trade.marks, rules.choices, rules.quantities
    market = market_at_nb(run)
    low, high = market.low, market.high
    limit = _highest_limit_nb(run) if marks[PLAN] == EntryKind.LADDER else NO_LIMIT
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
        _count_excursion_nb(run, lowest / average, highest / average)
    return i


@inner
def _skip_quiet_rebound_nb(run: IntArray, begin: int, end: int) -> int:
    """Do what `_skip_quiet_flat_nb` does, for a stop-buy above the lowest low."""
    amounts = _trade_of_nb(run).amounts
    market = market_at_nb(run)
    low, high = market.low, market.high
    factor = _rules_of_nb(run).quantities[Quantity.ENTRY_FACTOR]
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
    trade = _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    market = market_at_nb(run)
    low, high = market.low, market.high
    if marks[PLAN] == EntryKind.REBOUND:
        return _skip_quiet_rebound_nb(run, begin, end)
    i = begin
    if marks[PLAN] == EntryKind.RE_ENTRY:
        factor = _rules_of_nb(run).quantities[Quantity.RE_ENTRY_FACTOR]
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
    limit = _highest_limit_nb(run) if marks[PLAN] == EntryKind.LADDER else _single_limit_nb(run, i)
    if limit == NO_LIMIT:
        return end
    while i < end and low[i] > limit:
        i += 1
    return i


@inner
def _skip_quiet_nb(run: IntArray, begin: int) -> int:
    """Return the next candle to step through; n if the candles end before."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    marks = trade.marks
    end = min(market.n, marks[HORIZON_CANDLE])
    if marks[PLAN] != NO_PLAN:
        end = min(end, marks[PLAN_LAST] + 1)
    if marks[IS_HELD] != 0:
        _find_action_nb(run, begin)
        end = min(end, marks[MAX_HOLD_CANDLE], marks[ACTION_CANDLE])
    if begin >= end:
        return begin
    end = _next_signal_nb(run, begin, end)
    if marks[IS_HELD] != 0:
        return _skip_quiet_held_nb(run, begin, end)
    return _skip_quiet_flat_nb(run, begin, end)


@inner
def _begin_actions_nb(run: IntArray, call: int) -> None:
    """Find the first call of the caller that can act in or after the trade's first candle."""
    market, rules, trade, calls = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run), _calls_of_nb(run)
    marks, choices = trade.marks, rules.choices
    marks[ACTION_CANDLE] = -1
    marks[ACTION_END] = calls.end_action[call]
    if choices[Choice.SELLS_ON_EXIT_CALL] == 0 and choices[Choice.OVERLAP] != OverlapKind.SCALE_IN:
        marks[ACTION] = marks[ACTION_END]
        return
    low, high = calls.first_action[call], calls.end_action[call]
    if marks[START] > 0:
        after = market.time[marks[START] - 1] - choices[Choice.LATENCY_SECONDS]
        while low < high:
            middle = (low + high) >> 1
            if calls.timestamp[calls.action[middle]] <= after:
                low = middle + 1
            else:
                high = middle
    marks[ACTION] = low


@inner
def _run_trade_nb(run: IntArray, call: int, start: int) -> int:
    """Take a trade from candle a until it is done; return how many candles that were."""
    market, rules, trade = market_at_nb(run), _rules_of_nb(run), _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    amounts[REFERENCE] = market.open[start]
    amounts[LOWEST_LOW] = market.open[start]
    marks[START] = start
    marks[HORIZON_CANDLE] = first_candle_at_nb(market.time, market.time[start] + rules.choices[Choice.HORIZON_SECONDS])
    _begin_plan_nb(run, start)
    _begin_actions_nb(run, call)
    i = start
    while i < market.n:
        _step_nb(run, i)
        if marks[DONE_IN] >= 0:
            return i + 1 - start
        i = _skip_quiet_nb(run, i + 1)
    last = market.n - 1
    if marks[IS_HELD] != 0:
        quantity = amounts[QUANTITY]
        price = market.close[last]
        _sell_nb(
            run, last, FINAL_EXIT, quantity, price, ORDER_MARKET, False, 0, REASON_END_OF_DATA, STOP_NONE, -1, True
        )
    elif marks[CYCLES] == 0:
        _skip_nb(run, market.time[last] + market.interval, REASON_END_OF_DATA, last)
    marks[DONE_IN] = last
    return last + 1 - start


@inner
def _reset_nb(run: IntArray, events: int, fills: int) -> None:
    """Make the state that of a new trade."""
    trade = _trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    amounts[:] = 0.0
    amounts[HIGHEST_HIGH] = -np.inf
    marks[:] = 0
    marks[DONE_IN] = -1
    marks[ENDED_IN] = -1
    marks[FILL_CANDLE] = -1
    marks[EVENTS] = events
    marks[FILLS] = fills


@inner
def _keep_result_nb(
    run: IntArray, cursor: IntArray, result_amounts: FloatArray, result_marks: IntArray, steps: int
) -> None:
    """Write what came of a trade, and move the ends of events and fills behind its own."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
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
    market, rules, calls = market_at_nb(run), _rules_of_nb(run), _calls_of_nb(run)
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
    output = _output_of_nb(run)
    has_room = cursor[CURSOR_FILLS] + wanted <= output.fill_candles.shape[0]
    if output.event_marks.shape[0] > 0:
        has_room = has_room and cursor[CURSOR_EVENTS] + wanted <= output.event_marks.shape[0]
    if not has_room:
        cursor[CURSOR_WANTED] = wanted
    return has_room


@inner
def _write_skipped_call_nb(run: IntArray, time: int, reason: int, candle: int) -> None:
    """Write the one event of a call that was skipped at the open of a candle, or (-1) without any."""
    market, trade = market_at_nb(run), _trade_of_nb(run)
    if candle < 0:
        trade.amounts[REFERENCE] = np.nan
        _skip_nb(run, time, reason, NO_CANDLE)
    else:
        trade.amounts[REFERENCE] = market.open[candle]
        _skip_nb(run, market.time[candle], reason, candle - 1)


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
                    _reset_nb(run, cursor[CURSOR_EVENTS], cursor[CURSOR_FILLS])
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
                    _reset_nb(run, cursor[CURSOR_EVENTS], cursor[CURSOR_FILLS])
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
