"""Runs in the peers' environment: vectorbt does the work of `quantbot bench engine`, one repetition per line asked.

The first argument is the file of `quantbot_pipeline.bench.peers.write_peer_data`. Every line on standard input is
a JSON object of one repetition; the answer is one line with seconds, trades and the sum of pnl. Nothing of the
project is imported here.

vectorbt holds one position per column, so every call is a column: the candle before the call's first one, then the
candles up to its horizon. An order of row r fills at the open of the candle after it, as the engine's do, so
stops act from the candle on in which the position was opened. The columns are cut before the clock runs.
"""

import gc
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import numba  # type: ignore[import-untyped, unused-ignore]
import numpy as np
import pandas as pd
import vectorbt as vbt  # type: ignore[import-not-found, unused-ignore]  # installed in the peers' environment alone
from vectorbt.portfolio import nb  # type: ignore[import-not-found, unused-ignore]  # the same


class Columns:
    """Candles of every call as columns, shape (longest window + 1, calls)."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        first, end = data["call_first"], data["call_end"]
        self.last_row = (end - first).astype(np.int64)
        rows = np.arange(int(self.last_row.max()) + 1)[:, None]
        # Row 0 is the candle before the first; the rows behind a shorter window repeat its last candle.
        taken = np.minimum(first[None, :] + rows - 1, end[None, :] - 1)
        taken[0] = np.maximum(taken[0], data["token_begin"])
        self.open, self.high, self.low, self.close = (data[name][taken] for name in ("open", "high", "low", "close"))
        price = np.empty_like(self.open)
        price[:-1] = self.open[1:]
        price[-1] = self.close[-1]
        calls = np.arange(len(first))
        price[self.last_row, calls] = data["call_exit_price"]
        self.price = price
        self.entries = np.zeros(price.shape, dtype=np.bool_)
        self.entries[0] = True
        self.exits = np.zeros(price.shape, dtype=np.bool_)
        self.exits[self.last_row, calls] = True
        # Each layout is the quicker one for what reads it: rows in one piece for signals, columns for orders.
        self.of_columns = [np.asfortranarray(values) for values in (self.open, self.high, self.low, self.price)]


def stop_and_target(columns: Columns, asked: Mapping[str, Any]) -> Any:
    """Return the portfolio of a stop, one target and a time exit."""
    return vbt.Portfolio.from_signals(
        columns.close,
        entries=columns.entries,
        exits=columns.exits,
        open=columns.open,
        high=columns.high,
        low=columns.low,
        price=columns.price,
        sl_stop=asked["stop"],
        tp_stop=asked["targets"][0][0] - 1,
        stop_entry_price="fillprice",
        stop_exit_price="stoplimit",
        fees=asked["fee"],
        init_cash=1.0,
        max_orders=2 * columns.close.shape[1],
        engine=asked["engine"],
    )


@numba.njit(cache=False)  # type: ignore[untyped-decorator, unused-ignore]
def ladder_order_nb(c, open_, high, low, price, last_row, stop, multiples, sizes, fee, stops, quantities, hit):  # type: ignore[no-untyped-def]
    """Return the order of one candle: all that it sells, at the price that gives the same cash."""
    col, i = c.col, c.i
    if i == 0:
        entry = price[0, col]
        stops[col] = entry * (1 - stop)
        hit[col] = 0
        quantities[col] = 1 / (entry * (1 + fee))
        return nb.order_nb(quantities[col], entry, fees=fee)
    left = c.position_now
    if left <= 0:
        return nb.order_nothing_nb()
    entry = price[0, col]
    sold = 0.0
    cash = 0.0
    if open_[i, col] <= stops[col]:
        return nb.order_nb(-left, open_[i, col], fees=fee)
    before = hit[col]
    while hit[col] < len(multiples) and open_[i, col] >= entry * multiples[hit[col]]:
        part = min(left - sold, sizes[hit[col]] * quantities[col])
        sold += part
        cash += part * open_[i, col]
        hit[col] += 1
    if left - sold > 1e-12 * quantities[col]:
        if low[i, col] <= stops[col]:
            cash += (left - sold) * stops[col]
            sold = left
        else:
            while hit[col] < len(multiples) and high[i, col] >= entry * multiples[hit[col]]:
                part = min(left - sold, sizes[hit[col]] * quantities[col])
                sold += part
                cash += part * entry * multiples[hit[col]]
                hit[col] += 1
    if before == 0 and hit[col] > 0:
        stops[col] = max(stops[col], entry)
    if i == last_row[col] and left - sold > 1e-12 * quantities[col]:
        cash += (left - sold) * price[i, col]
        sold = left
    if sold == 0:
        return nb.order_nothing_nb()
    return nb.order_nb(-sold, cash / sold, fees=fee)


def ladder(columns: Columns, asked: Mapping[str, Any]) -> Any:
    """Return the portfolio of several targets, a stop, break-even after the first target and a time exit."""
    calls = columns.close.shape[1]
    return vbt.Portfolio.from_order_func(
        columns.close,
        ladder_order_nb,
        *columns.of_columns,
        columns.last_row,
        asked["stop"],
        np.array([multiple for multiple, _ in asked["targets"]]),
        np.array([size for _, size in asked["targets"]]),
        asked["fee"],
        np.empty(calls),
        np.empty(calls),
        np.zeros(calls, dtype=np.int64),
        init_cash=1.0,
        max_orders=(2 + len(asked["targets"])) * calls,
        ffill_val_price=False,
        update_value=False,
        fill_pos_record=False,
    )


def main() -> None:
    """Answer one line per repetition until standard input ends."""
    with np.load(sys.argv[1]) as stored:
        columns = Columns(dict(stored))
    has_rust = vbt._engine.is_rust_available()
    versions = {"vectorbt": vbt.__version__, "numba": numba.__version__, "numpy": np.__version__}
    versions |= {"pandas": pd.__version__}
    answer({"versions": versions, "has_rust": bool(has_rust)})
    for line in sys.stdin:
        asked = json.loads(line)
        gc.collect()
        begin = time.perf_counter()
        portfolio = ladder(columns, asked) if asked["break_even"] else stop_and_target(columns, asked)
        seconds = time.perf_counter() - begin
        pnl = float(np.asarray(portfolio.total_profit()).sum())
        answer({"seconds": seconds, "trades": int(portfolio.positions.count().sum()), "total_pnl": pnl})


def answer(document: Mapping[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(document), flush=True)  # noqa: T201 - lines on standard output are how this script answers


if __name__ == "__main__":
    main()
