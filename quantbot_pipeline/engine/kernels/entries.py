"""What a trade still plans to buy: orders of its entry, and of its re-entry (`docs/engine.md` section 6)."""

# ruff: noqa: FBT001, FBT003 - kernels call each other by position, with flags among the arguments
# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.fills import buy_nb, write_entry_skipped_nb
from quantbot_pipeline.engine.kernels.layout import (
    ENTRY,
    LADDER_ENTRY,
    NO_STOP,
    ORDER_LIMIT,
    ORDER_MARKET,
    RE_ENTRY,
    REASON_NONE,
    REASON_TIMEOUT,
)
from quantbot_pipeline.engine.kernels.market import first_candle_at_nb, market_at_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ARMED_FROM,
    CYCLES,
    DONE_IN,
    HIGHEST_HIGH,
    IS_HELD,
    LOWEST_LOW,
    NO_LIMIT,
    NO_PLAN,
    NO_PRICE,
    PLAN,
    PLAN_LAST,
    REFERENCE,
    START,
    STOP,
    has_held_nb,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import Choice, EntryKind, Quantity


@inner
def begin_plan_nb(run: IntArray, start: int) -> None:
    """Let the orders of the entry come to rest from candle a on."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
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
def fill_order_nb(run: IntArray, i: int, price: float, order: int, leg: int, is_inside: bool, is_gap: bool) -> None:
    """Fill an order of the plan at a raw price, and tell the plan."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
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
    buy_nb(run, i, event_type, size, price, order, is_inside, is_gap, leg, REASON_NONE, -1)


@inner
def _is_due_at_open_nb(run: IntArray, leg: int, i: int) -> bool:
    """Return whether a leg is a market buy at the open of candle i."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
    marks = trade.marks
    if trade.leg_armed[leg] == 0:
        return False
    slot = rules.leg_signals[leg]
    if slot < 0:
        return i == marks[START] and rules.legs[leg, 0] == 0.0
    decided_at = i - 1
    if decided_at < marks[ARMED_FROM] or decided_at > marks[PLAN_LAST]:
        return False
    return has_held_nb(run, slot, decided_at)


@inner
def _fill_market_orders_nb(run: IntArray, i: int) -> None:
    """Fill what the plan buys at the open of candle i."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    marks = trade.marks
    plan = marks[PLAN]
    price = market.open[i]
    if plan == EntryKind.IMMEDIATE:
        if i == marks[START]:
            fill_order_nb(run, i, price, ORDER_MARKET, -1, False, False)
    elif plan == EntryKind.SIGNAL:
        decided_at = i - 1
        if (
            decided_at >= marks[START]
            and decided_at <= marks[PLAN_LAST]
            and has_held_nb(run, rules.choices[Choice.ENTRY_SIGNAL], decided_at)
        ):
            fill_order_nb(run, i, price, ORDER_MARKET, -1, False, False)
    elif plan == EntryKind.LADDER:
        for k in range(rules.legs.shape[0]):
            if _is_due_at_open_nb(run, k, i):
                fill_order_nb(run, i, price, ORDER_MARKET, k, False, False)
                if rules.choices[Choice.IS_SEQUENTIAL] != 0:
                    break


@inner
def buy_at_open_nb(run: IntArray, i: int) -> None:
    """Fill the plan's market orders; where its wait is over, end it."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    marks = trade.marks
    _fill_market_orders_nb(run, i)
    if marks[PLAN] == NO_PLAN or i <= marks[PLAN_LAST]:
        return
    marks[PLAN] = NO_PLAN
    if marks[CYCLES] == 0:
        if rules.choices[Choice.BUYS_ON_TIMEOUT] != 0:
            price = market.open[i]
            buy_nb(run, i, ENTRY, 1.0, price, ORDER_MARKET, False, False, -1, REASON_TIMEOUT, -1)
        else:
            write_entry_skipped_nb(run, market.time[i], REASON_TIMEOUT, i - 1)
            marks[DONE_IN] = i
    elif marks[IS_HELD] == 0:
        marks[DONE_IN] = i


@inner
def single_limit_nb(run: IntArray, i: int) -> float:
    """Return the limit of a plan that has one limit at most; -inf where none rests in candle i."""
    rules, trade = rules_of_nb(run), trade_of_nb(run)
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
def highest_limit_nb(run: IntArray) -> float:
    """Return the highest limit of the ladder that can fill; -inf without one."""
    trade = trade_of_nb(run)
    for position in range(trade.leg_order.shape[0]):
        leg = trade.leg_order[position]
        if leg < 0:
            break
        if trade.leg_armed[leg] != 0:
            return trade.leg_limits[leg]
    return NO_LIMIT


@inner
def fill_limits_nb(
    run: IntArray, i: int, reached: float, is_at_open: bool, above: float, stops_at_own_stop: bool
) -> None:
    """Fill the limits at or above the price that was reached, in descending price.

    Only limits above the price `above` fill, or, where `stops_at_own_stop`, above the stop of the cycle that the
    first of them began.
    """
    trade = trade_of_nb(run)
    marks = trade.marks
    if marks[PLAN] != EntryKind.LADDER:
        limit = single_limit_nb(run, i)
        if reached <= limit and limit > above:
            price = reached if is_at_open else limit
            fill_order_nb(run, i, price, ORDER_LIMIT, -1, not is_at_open, is_at_open and reached < limit)
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
            fill_order_nb(run, i, price, ORDER_LIMIT, leg, not is_at_open, is_at_open and reached < limit)


@inner
def stop_buy_nb(run: IntArray, i: int) -> float:
    """Return the trigger of the stop-buy that rests in candle i; infinity without one."""
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
    amounts, marks = trade.amounts, trade.marks
    if marks[PLAN] != EntryKind.REBOUND or i > marks[PLAN_LAST]:
        return NO_PRICE
    if i > marks[START]:
        amounts[LOWEST_LOW] = min(amounts[LOWEST_LOW], market.low[i - 1])
    return amounts[LOWEST_LOW] * rules.quantities[Quantity.ENTRY_FACTOR]
