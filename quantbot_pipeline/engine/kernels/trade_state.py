"""The state of one trade and all that a step of it reads, behind one array of addresses.

A trade is two small arrays (`Trade.amounts`, `Trade.marks`, by the slots below) and a few more for targets and legs.

Candles are named by their index in the token, calls by their position in the arrays of `Calls`, legs and targets
from 0. -1 stands for none.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from typing import NamedTuple

import numpy as np
from numba import carray

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.layout import EVENT_AMOUNTS, EVENT_MARKS
from quantbot_pipeline.engine.kernels.market import MARKET_COLUMNS, byte_pointer_nb, float_pointer_nb, int_pointer_nb
from quantbot_pipeline.strategy.compile import Choice, Quantity

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
    INITIAL_STOPS,
    ACTION,
    ACTION_END,
    ACTION_CANDLE,
) = range(32)
MARK_SLOTS = 32

NO_PLAN = 0
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
def rules_of_nb(run: IntArray) -> Rules:
    """Return the strategy of a run."""
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
def calls_of_nb(run: IntArray) -> Calls:
    """Return the calls of a run."""
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
def output_of_nb(run: IntArray) -> Output:
    """Return the buffers of a run."""
    events, fills = run[RUN_EVENT_COUNT], run[RUN_FILL_COUNT]
    return Output(
        carray(float_pointer_nb(run[RUN_EVENT_AMOUNTS]), (events, EVENT_AMOUNTS)),
        carray(int_pointer_nb(run[RUN_EVENT_MARKS]), (events, EVENT_MARKS)),
        carray(float_pointer_nb(run[RUN_FILL_AMOUNTS]), (fills, 2)),
        carray(int_pointer_nb(run[RUN_FILL_CANDLES]), (fills,)),
    )


@inner
def trade_of_nb(run: IntArray) -> Trade:
    """Return the state of the trade that a run is at."""
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
def has_held_nb(run: IntArray, slot: int, i: int) -> bool:
    """Return whether a signal held at the close of candle i."""
    rules = rules_of_nb(run)
    return carray(byte_pointer_nb(rules.signals[slot]), (i + 1,))[i] != 0


@inner
def reset_nb(run: IntArray, events: int, fills: int) -> None:
    """Make the state that of a new trade."""
    trade = trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    amounts[:] = 0.0
    amounts[HIGHEST_HIGH] = -np.inf
    marks[:] = 0
    marks[DONE_IN] = -1
    marks[ENDED_IN] = -1
    marks[FILL_CANDLE] = -1
    marks[EVENTS] = events
    marks[FILLS] = fills
