"""Kernels that mark trades: their value at each candle close from the first buy to the last sell.

The value at a close is cash in - cash out so far + the open quantity sold at that close as a market order.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.market import Market, inner, market_at_nb, outer, slippage_nb
from quantbot_pipeline.strategy.compile import Quantity

DAY_SECONDS = 86_400

# Columns of the trades to mark: token, where its fills begin, how many they are.
MARKED_TOKEN, MARKED_FIRST_FILL, MARKED_FILLS = range(3)
MARKED_COLUMNS = 3


@inner
def _value_nb(market: Market, choices: IntArray, quantities: FloatArray, i: int, quantity: float, cash: float) -> float:
    """Return a trade's value at the close of candle i."""
    gross = quantity * market.close[i]
    slippage = slippage_nb(market, choices, quantities, i, gross)
    return cash + gross * (1.0 - slippage) * (1.0 - quantities[Quantity.FEE])


@outer
def mark_trades_nb(
    markets: IntArray,
    choices: IntArray,
    quantities: FloatArray,
    marked: IntArray,
    fill_amounts: FloatArray,
    fill_candles: IntArray,
    ends: IntArray,
    timestamp: IntArray,
    value: FloatArray,
) -> None:
    """Write open time and value at each close of each trade.

    Args:
        markets: Addresses of the candles, as for `simulate_tasks_nb`.
        choices: Of the compiled strategy.
        quantities: The same.
        marked: Trades that bought, columns `MARKED_…`, shape (n_trades, 3).
        fill_amounts: Quantity and cash after each fill.
        fill_candles: Candle of each fill.
        ends: Where in the outputs the marks of each trade end, shape (n_trades,).
        timestamp: Output, open times, seconds.
        value: Output, fractions of the capital.
    """
    position = 0
    for trade in range(marked.shape[0]):
        market = market_at_nb(markets[marked[trade, MARKED_TOKEN]])
        fill = marked[trade, MARKED_FIRST_FILL]
        end_fill = fill + marked[trade, MARKED_FILLS]
        i = fill_candles[fill]
        while position < ends[trade]:
            while fill + 1 < end_fill and fill_candles[fill + 1] <= i:
                fill += 1
            timestamp[position] = market.time[i]
            value[position] = _value_nb(market, choices, quantities, i, fill_amounts[fill, 0], fill_amounts[fill, 1])
            position += 1
            i += 1


@outer
def add_changes_nb(
    markets: IntArray,
    choices: IntArray,
    quantities: FloatArray,
    marked: IntArray,
    fill_amounts: FloatArray,
    fill_candles: IntArray,
    first_close: int,
    grid_seconds: int,
    first_day: int,
    close_changes: FloatArray,
    day_changes: FloatArray,
) -> bool:
    """Add every trade's change of value to the candle closes and to the UTC days.

    The order of the additions is that of the trades, at each close and day.

    Args:
        markets: As for `mark_trades_nb`, like the next five.
        choices: The same.
        quantities: The same.
        marked: The same.
        fill_amounts: The same.
        fill_candles: The same.
        first_close: Close time of the first slot of `close_changes`, seconds.
        grid_seconds: Time from one slot to the next.
        first_day: Day of the first slot of `day_changes`, days since the epoch.
        close_changes: Output; changes at each close on the grid.
        day_changes: Output; changes of each day: last value of the day - last value of the day before.

    Returns:
        Whether every close was on the grid; the outputs mean nothing otherwise.
    """
    for trade in range(marked.shape[0]):
        market = market_at_nb(markets[marked[trade, MARKED_TOKEN]])
        fill = marked[trade, MARKED_FIRST_FILL]
        end_fill = fill + marked[trade, MARKED_FILLS]
        end = fill_candles[end_fill - 1] + 1
        i = fill_candles[fill]
        before, before_day = 0.0, 0.0
        day = market.time[i] // DAY_SECONDS
        day_ends = (day + 1) * DAY_SECONDS
        slot = -1
        last_time = 0
        while i < end:
            # Up to the next fill, quantity and cash are the same at every close.
            while fill + 1 < end_fill and fill_candles[fill + 1] <= i:
                fill += 1
            quantity, cash = fill_amounts[fill, 0], fill_amounts[fill, 1]
            until = fill_candles[fill + 1] if fill + 1 < end_fill else end
            while i < until:
                time = market.time[i]
                if time >= day_ends:
                    day_changes[day - first_day] += before - before_day
                    before_day = before
                    day = time // DAY_SECONDS
                    day_ends = (day + 1) * DAY_SECONDS
                value = _value_nb(market, choices, quantities, i, quantity, cash)
                if slot >= 0 and time - last_time == grid_seconds:
                    slot += 1
                else:
                    offset = time + market.interval - first_close
                    slot = offset // grid_seconds
                    if slot * grid_seconds != offset:
                        return False
                close_changes[slot] += value - before
                before = value
                last_time = time
                i += 1
        day_changes[day - first_day] += before - before_day
    return True
