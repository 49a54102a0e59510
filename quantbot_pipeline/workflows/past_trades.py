"""Trades of a strategy's current backtests, as learning reads them."""

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.learning.past_trades import PAST_TRADE_SCHEMA
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

STORED_TRADE_SCHEMA = PAST_TRADE_SCHEMA.append(pa.field("began_at", pa.int64(), nullable=False)).append(
    pa.field("interval_seconds", pa.int64(), nullable=False)
)
"""Past trades with the time of their first event, seconds, and the length of the candles that they were made on."""


def load_past_trades(
    strategy: str, call_id: IntArray, caller_id: IntArray, signal: IntArray, state: StateStore, history: HistoryStore
) -> pa.Table:
    """Return the trades of calls that ended before the data did (STORED_TRADE_SCHEMA).

    An event inside a candle bears the candle's open time, but what happened in it was known when it closed: a
    result counts as known one candle after its last event.

    Args:
        strategy: Name of the strategy.
        call_id: The entry calls; trades of others, such as a scale-in that found nothing, are left out.
        caller_id: Who made each.
        signal: When, seconds.
        state: Where runs are.
        history: Where events are.
    """
    if not len(call_id):
        return STORED_TRADE_SCHEMA.empty_table()
    trades = history.read("features/load_finished_trades", strategy=strategy)
    runs = state.read("features/load_run_intervals", strategy=strategy)
    traded = np.asarray(trades["call_id"].to_numpy(), dtype=np.int64)
    order = np.argsort(call_id, kind="stable")
    row = order[np.minimum(np.searchsorted(call_id[order], traded), len(call_id) - 1)]
    run_ids = np.asarray(runs["simulation_run_id"].to_numpy(), dtype=np.int64)
    intervals = np.asarray(runs["interval_seconds"].to_numpy(), dtype=np.int64)
    of_trade = np.asarray(trades["simulation_run_id"].to_numpy(), dtype=np.int64)
    run = np.searchsorted(run_ids, of_trade)
    # A run that Postgres no longer holds as current: its mirror in ClickHouse is older.
    is_current = (run < len(run_ids)) & (np.append(run_ids, -1)[run] == of_trade)
    kept = is_current & (call_id[row] == traded)
    row, run = row[kept], run[kept]
    began_at, done_at = (np.asarray(trades[name].to_numpy(), dtype=np.int64)[kept] for name in ("began_at", "done_at"))
    return pa.table(
        {
            "call_id": pa.array(call_id[row]),
            "caller_id": pa.array(caller_id[row]),
            "strategy": pa.array(np.full(len(row), strategy, dtype=object), pa.string()),
            "signal_timestamp": pa.array(signal[row]),
            "known_at": pa.array(done_at + intervals[run]),
            "pnl": pa.array(np.asarray(trades["pnl"].to_numpy(), dtype=np.float64)[kept]),
            "began_at": pa.array(began_at),
            "interval_seconds": pa.array(intervals[run]),
        },
        schema=STORED_TRADE_SCHEMA,
    )
