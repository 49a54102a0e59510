"""Money: buys and sells of one trade, and the events they write (`docs/engine.md` section 4)."""

# ruff: noqa: FBT001, FBT003 - kernels call each other by position, with flags among the arguments

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.layout import (
    ENTRY_SKIPPED,
    EVENT_AVERAGE,
    EVENT_CALL,
    EVENT_CLOSE,
    EVENT_CYCLE,
    EVENT_GAP,
    EVENT_LEG,
    EVENT_ORDER,
    EVENT_PEAK,
    EVENT_PNL,
    EVENT_PRICE,
    EVENT_QUANTITY,
    EVENT_REASON,
    EVENT_REMAINING,
    EVENT_SIZE,
    EVENT_STOP,
    EVENT_STOP_KIND,
    EVENT_TARGET,
    EVENT_TIME,
    EVENT_TYPE,
    FILL_CASH,
    FILL_QUANTITY,
    LADDER_ENTRY,
    NO_STOP,
    ORDER_LIMIT,
    ORDER_MARKET,
    ORDER_NONE,
    ORDER_STOP,
    RE_ENTRY,
    REASON_NONE,
    SIGNAL_EXIT,
    STOP_INITIAL,
    STOP_LOSS,
    STOP_NONE,
    STOP_TRAILING,
    TARGET_HIT,
    TIME_EXIT,
    TRAILING_STOP,
)
from quantbot_pipeline.engine.kernels.market import first_candle_at_nb, market_at_nb, slippage_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ADVERSE,
    AVERAGE,
    BEGAN_IN,
    BEGAN_INSIDE,
    BOUGHT,
    CASH_SPENT,
    COST,
    CYCLES,
    DONE_IN,
    ENDED_IN,
    EVENTS,
    FAVOURABLE,
    FILL_CANDLE,
    FILL_HIGHEST,
    FILL_LOWEST,
    FILLS,
    FIRST_BEGAN_IN,
    FIRST_BEGAN_INSIDE,
    HAS_AVERAGE_CHANGED,
    HOLDING_SECONDS,
    INITIAL_STOPS,
    IS_BREAK_EVEN_ARMED,
    IS_BREAK_EVEN_DUE,
    IS_HELD,
    IS_TRAILING_ARMED,
    LADDER_ENTRIES,
    LAST_EVENT_TIME,
    MAX_HOLD_CANDLE,
    NEXT_TARGET,
    NO_PLAN,
    PEAK,
    PLAN,
    PLAN_LAST,
    PROCEEDS,
    QUANTITY,
    RE_ENTRIES,
    REALISED,
    REFERENCE,
    STOP,
    STOP_KIND,
    TARGET_HITS,
    output_of_nb,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import Choice, EndReason, EntryKind, Quantity

ZERO_SIZE = 1e-12
"""Shares of a cycle's quantity below this are zero."""


@inner
def write_event_nb(
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
    trade, output = trade_of_nb(run), output_of_nb(run)
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
    trade, output = trade_of_nb(run), output_of_nb(run)
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
def count_excursion_nb(run: IntArray, lowest_ratio: float, highest_ratio: float) -> None:
    """Count prices while open, as ratios to the average entry."""
    trade = trade_of_nb(run)
    amounts = trade.amounts
    amounts[ADVERSE] = min(amounts[ADVERSE], lowest_ratio - 1.0)
    amounts[FAVOURABLE] = max(amounts[FAVOURABLE], highest_ratio - 1.0)


@inner
def buy_nb(
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
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
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
    write_event_nb(run, market.time[i], event_type, price, cash, i - 1, order, is_gap, leg, 0, reason, STOP_NONE, call)


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
def sell_nb(
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
    market, rules, trade = market_at_nb(run), rules_of_nb(run), trade_of_nb(run)
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
    if stop_kind == STOP_INITIAL:
        marks[INITIAL_STOPS] += 1
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
    write_event_nb(run, time, event_type, price, size, close, order, is_gap, -1, target, reason, stop_kind, call)
    if amounts[QUANTITY] != 0.0:
        return
    marks[HOLDING_SECONDS] += time - market.time[marks[BEGAN_IN]]
    count_excursion_nb(run, amounts[FILL_LOWEST], amounts[FILL_HIGHEST])
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
def sell_all_at_market_nb(run: IntArray, i: int, event_type: int, reason: int, call: int) -> None:
    """Sell all at the open."""
    market, trade = market_at_nb(run), trade_of_nb(run)
    quantity = trade.amounts[QUANTITY]
    price = market.open[i]
    sell_nb(run, i, event_type, quantity, price, ORDER_MARKET, False, 0, reason, STOP_NONE, call, False)


@inner
def sell_at_stop_nb(run: IntArray, i: int, raw_price: float, is_gap: bool) -> None:
    """Sell all by the stop in force."""
    trade = trade_of_nb(run)
    kind = trade.marks[STOP_KIND]
    event_type = TRAILING_STOP if kind == STOP_TRAILING else STOP_LOSS
    quantity = trade.amounts[QUANTITY]
    sell_nb(run, i, event_type, quantity, raw_price, ORDER_STOP, is_gap, 0, REASON_NONE, kind, -1, False)


@inner
def write_entry_skipped_nb(run: IntArray, time: int, reason: int, close: int) -> None:
    """Write that the trade bought nothing."""
    trade = trade_of_nb(run)
    write_event_nb(
        run, time, ENTRY_SKIPPED, trade.amounts[REFERENCE], 0.0, close, ORDER_NONE, False, -1, 0, reason, STOP_NONE, -1
    )
