"""Kernels that mark trades: their value at each candle close from the first buy to the last sell.

The value at a close is cash in - cash out so far + the open quantity sold at that close as a market order.
"""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.kernels.compiling import inner, outer
from quantbot_pipeline.engine.kernels.market import Market, market_at_nb, slippage_nb
from quantbot_pipeline.strategy.compile import Choice, Quantity

DAY_SECONDS = 86_400

# Columns of the trades to mark: token, where its fills begin, how many they are.
MARKED_TOKEN, MARKED_FIRST_FILL, MARKED_FILLS = range(3)
MARKED_COLUMNS = 3

CANDLES_PER_GAP = 128
"""Where gaps are rarer, candles are taken by pieces without one; short pieces take longer than single candles."""

VALUES_AT_ONCE = 1_024
"""Values that are worked out before their changes are added: 8 KB, which stay in the processor's nearest cache."""

# What `extent_of_marks_nb` returns.
EXTENT_FIRST_CLOSE, EXTENT_LAST_CLOSE, EXTENT_GRID_SECONDS, EXTENT_FIRST_DAY, EXTENT_MARKS = range(5)
EXTENT_SLOTS = 5


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


@inner
def _greatest_common_divisor_nb(a: int, b: int) -> int:
    while b != 0:
        a, b = b, a % b
    return a


@outer
def extent_of_marks_nb(
    markets: IntArray,
    marked: IntArray,
    fill_candles: IntArray,
    sees_gaps: bool,  # noqa: FBT001 - kernels take their arguments by position
    extent: IntArray,
) -> None:
    """Tell when trades have marks, and how far apart.

    Args:
        markets: As for `mark_trades_nb`, like the next two.
        marked: The same; at least one trade.
        fill_candles: The same.
        sees_gaps: Whether the time is taken to look at the candles within trades too.
        extent: Output, slots `EXTENT_…`, seconds: first and last close; the largest step that leads from the first
            close to the first of every trade (to every close if `sees_gaps`) and divides the candles' lengths; the
            day of the first mark, days since the epoch; and the number of marks.
    """
    first_close = last_close = origin = grid_seconds = first_time = held = 0
    for trade in range(marked.shape[0]):
        market = market_at_nb(markets[marked[trade, MARKED_TOKEN]])
        fill = marked[trade, MARKED_FIRST_FILL]
        first = fill_candles[fill]
        last = fill_candles[fill + marked[trade, MARKED_FILLS] - 1]
        opens, closes = market.time[first] + market.interval, market.time[last] + market.interval
        if trade == 0:
            first_close, last_close, origin, first_time = opens, closes, opens, market.time[first]
        first_close, last_close = min(first_close, opens), max(last_close, closes)
        first_time = min(first_time, market.time[first])
        held += last - first + 1
        if grid_seconds == 1:
            continue
        grid_seconds = _greatest_common_divisor_nb(market.interval, grid_seconds)
        grid_seconds = _greatest_common_divisor_nb(grid_seconds, abs(opens - origin))
        if sees_gaps:
            for i in range(first, last):
                step = market.time[i + 1] - market.time[i]
                if step != market.interval and step % grid_seconds != 0:
                    grid_seconds = _greatest_common_divisor_nb(grid_seconds, step)
    extent[EXTENT_FIRST_CLOSE], extent[EXTENT_LAST_CLOSE] = first_close, last_close
    extent[EXTENT_GRID_SECONDS], extent[EXTENT_MARKS] = grid_seconds, held
    extent[EXTENT_FIRST_DAY] = first_time // DAY_SECONDS


@inner
def _end_of_piece_nb(market: Market, i: int, until: int, day_ends: int) -> int:
    """Return the candle after the last of those that follow candle i without a gap, before `until` and midnight."""
    time = market.time[i]
    until = min(until, i + (day_ends - time + market.interval - 1) // market.interval)
    # Candles do not overlap: so many of them over this many seconds leave no room for gaps.
    if market.time[until - 1] - time == (until - 1 - i) * market.interval:
        return until
    end = i + 1
    while end < until and market.time[end] - market.time[end - 1] == market.interval:
        end += 1
    return end


@inner
def _values_after_volume_nb(
    market: Market, quantities: FloatArray, begin: int, end: int, quantity: float, cash: float, values: FloatArray
) -> None:
    """Write what `_value_nb` returns at the closes [begin, end), for slippage that depends on volume; begin > 0.

    The same operations in the same order, without a branch, so that several values are worked out at once.
    """
    base, cap = quantities[Quantity.SLIPPAGE], quantities[Quantity.SLIPPAGE_CAP]
    impact, capital = quantities[Quantity.SLIPPAGE_IMPACT], quantities[Quantity.CAPITAL_QUOTE]
    after_fee = 1.0 - quantities[Quantity.FEE]
    closes = market.close[begin:end]
    earlier_closes, earlier_volumes = market.close[begin - 1 : end - 1], market.volume[begin - 1 : end - 1]
    for k in range(end - begin):
        gross = quantity * closes[k]
        quote_volume = earlier_volumes[k] * earlier_closes[k]
        slippage = base + impact * (gross * capital / quote_volume)
        slippage = slippage if slippage < cap else cap
        slippage = cap if quote_volume == 0.0 else slippage
        values[k] = cash + gross * (1.0 - slippage) * after_fee


@inner
def _add_piece_nb(
    market: Market,
    choices: IntArray,
    quantities: FloatArray,
    i: int,
    end: int,
    quantity: float,
    cash: float,
    before: float,
    close_changes: FloatArray,
    slot: int,
    step: int,
    values: FloatArray,
) -> float:
    """Add the changes at the closes of candles without fill, gap or midnight between them; return the last value.

    `values` is room for `VALUES_AT_ONCE` of them.
    """
    value = _value_nb(market, choices, quantities, i, quantity, cash)
    close_changes[slot] += value - before
    if step == 1 and choices[Choice.HAS_VOLUME_SLIPPAGE] == 0:
        # Nothing is carried from candle to candle here, so that several are worked out at once; each value twice is
        # still half the time.
        after_slippage, after_fee = 1.0 - quantities[Quantity.SLIPPAGE], 1.0 - quantities[Quantity.FEE]
        closes = market.close[i:end]
        changes = close_changes[slot + 1 : slot + end - i]
        for k in range(end - i - 1):
            earlier = cash + quantity * closes[k] * after_slippage * after_fee
            later = cash + quantity * closes[k + 1] * after_slippage * after_fee
            changes[k] += later - earlier
        return _value_nb(market, choices, quantities, end - 1, quantity, cash)
    if step == 1:
        # A division each, so each value once.
        for begin in range(i + 1, end, VALUES_AT_ONCE):
            count = min(VALUES_AT_ONCE, end - begin)
            _values_after_volume_nb(market, quantities, begin, begin + count, quantity, cash, values)
            changes = close_changes[slot + begin - i : slot + begin - i + count]
            changes[0] += values[0] - value
            for k in range(count - 1):
                changes[k + 1] += values[k + 1] - values[k]
            value = values[count - 1]
        return value
    for k in range(i + 1, end):
        slot += step
        later = _value_nb(market, choices, quantities, k, quantity, cash)
        close_changes[slot] += later - value
        value = later
    return value


@inner
def _add_candles_nb(
    market: Market,
    choices: IntArray,
    quantities: FloatArray,
    i: int,
    until: int,
    day_ends: int,
    quantity: float,
    cash: float,
    before: float,
    close_changes: FloatArray,
    slot: int,
    grid_seconds: int,
) -> tuple[int, float]:
    """Add the changes at closes with gaps between them, before `until` and midnight.

    Returns:
        The next candle, and the value before it. It may come early, where a close is not on the grid.
    """
    time = market.time[i]
    while True:
        value = _value_nb(market, choices, quantities, i, quantity, cash)
        close_changes[slot] += value - before
        before = value
        i += 1
        if i >= until or market.time[i] >= day_ends:
            return i, before
        step = market.time[i] - time
        time = market.time[i]
        if step == grid_seconds:
            slot += 1
        else:
            slots = step // grid_seconds
            if slots * grid_seconds != step:
                return i, before
            slot += slots


@outer
def fall_of_sums_nb(close_sums: FloatArray, n: int) -> float:
    """Return what `ValueChanges.max_drawdown` returns, bit by bit, in one pass."""
    equity, peak, largest = 0.0, 1.0, 0.0
    for change in close_sums:
        equity += change
        wealth = equity / n + 1.0
        peak = max(peak, wealth)
        largest = max(largest, (peak - wealth) / peak)
    return largest


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
        grid_seconds: Time from one slot to the next; divides the candles' lengths.
        first_day: Day of the first slot of `day_changes`, days since the epoch.
        close_changes: Output; changes at each close on the grid.
        day_changes: Output; changes of each day: last value of the day - last value of the day before.

    Returns:
        Whether every close was on the grid; the outputs mean nothing otherwise.
    """
    values = np.empty(VALUES_AT_ONCE, dtype=np.float64)
    for trade in range(marked.shape[0]):
        market = market_at_nb(markets[marked[trade, MARKED_TOKEN]])
        fill = marked[trade, MARKED_FIRST_FILL]
        end_fill = fill + marked[trade, MARKED_FILLS]
        end = fill_candles[end_fill - 1] + 1
        i = fill_candles[fill]
        gaps = (market.time[end - 1] - market.time[i]) // market.interval - (end - 1 - i)
        has_pieces = gaps * CANDLES_PER_GAP <= end - i
        before, before_day = 0.0, 0.0
        day = market.time[i] // DAY_SECONDS
        while i < end:
            # Up to the next fill, quantity and cash are the same at every close.
            while fill + 1 < end_fill and fill_candles[fill + 1] <= i:
                fill += 1
            quantity, cash = fill_amounts[fill, 0], fill_amounts[fill, 1]
            until = fill_candles[fill + 1] if fill + 1 < end_fill else end
            while i < until:
                time = market.time[i]
                if time >= (day + 1) * DAY_SECONDS:
                    day_changes[day - first_day] += before - before_day
                    before_day = before
                    day = time // DAY_SECONDS
                offset = time + market.interval - first_close
                slot = offset // grid_seconds
                if slot * grid_seconds != offset:
                    return False
                if has_pieces:
                    piece_end = _end_of_piece_nb(market, i, until, (day + 1) * DAY_SECONDS)
                    before = _add_piece_nb(
                        market,
                        choices,
                        quantities,
                        i,
                        piece_end,
                        quantity,
                        cash,
                        before,
                        close_changes,
                        slot,
                        market.interval // grid_seconds,
                        values,
                    )
                    i = piece_end
                else:
                    i, before = _add_candles_nb(
                        market,
                        choices,
                        quantities,
                        i,
                        until,
                        (day + 1) * DAY_SECONDS,
                        quantity,
                        cash,
                        before,
                        close_changes,
                        slot,
                        grid_seconds,
                    )
        day_changes[day - first_day] += before - before_day
    return True
