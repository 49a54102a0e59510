"""What Python and the kernels agree on: codes, and the columns of the arrays that pass between them.

Calls, event types, orders, stops and reasons are whole numbers here; `engine.fast_events` has their names.
"""

import math

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

NO_STOP = -math.inf
"""The stop of a cycle without one."""

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
    RESULT_INITIAL_STOPS,
    RESULT_FIRST_EVENT,
    RESULT_EVENTS,
    RESULT_FIRST_FILL,
    RESULT_FILLS,
    RESULT_STEPS,
) = range(14)
RESULT_MARKS = 14

# Where the kernel stands in its task: what to do next, and what it needs to go on.
CURSOR_TASK, CURSOR_PHASE, CURSOR_CALL, CURSOR_EVENTS, CURSOR_FILLS, CURSOR_BLOCKED_UNTIL, CURSOR_WANTED = range(7)
CURSOR_SLOTS = 7
PHASE_ENTRIES, PHASE_SCALE_INS = range(2)

# Columns of a task.
TASK_TOKEN, TASK_FIRST_CALL, TASK_END_CALL = range(3)
