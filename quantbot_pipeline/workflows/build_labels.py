"""Labels of all entry calls, from what is stored."""

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.learning.barrier_labels import build_barrier_labels
from quantbot_pipeline.learning.labels import (
    LABEL_SCHEMA,
    CandleLabel,
    Pnl,
    PnlAbove,
    TradeLabel,
    build_labels,
)
from quantbot_pipeline.learning.past_trades import integer_column
from quantbot_pipeline.learning.windows import rows_by_key
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.strategy.model import parse_strategy
from quantbot_pipeline.workflows.build_features import load_entry_calls, signal_second
from quantbot_pipeline.workflows.past_trades import load_past_trades
from quantbot_pipeline.workflows.stored_series import Reach, StoredSeries


def load_labels(definition: TradeLabel | CandleLabel, state: StateStore, history: HistoryStore) -> pa.Table:
    """Return the labels of all entry calls whose time the stored candles cover (LABEL_SCHEMA).

    A call near the end of its token's candles has no label, also where its trade was over: of those calls, only the
    quick ones would be left, and these are losses more often than not.

    Raises:
        InputError: the strategy of the label is not stored.
        LearningError: its current runs hold two trades of one call.
    """
    calls = load_entry_calls(state)
    signal = np.array([signal_second(call) for call in calls], dtype=np.int64)
    if isinstance(definition, PnlAbove | Pnl):
        return _trade_labels(definition, calls, signal, state, history)
    return _candle_labels(definition, calls, signal, history)


def _trade_labels(
    definition: TradeLabel, calls: list[CallRow], signal: IntArray, state: StateStore, history: HistoryStore
) -> pa.Table:
    strategies = state.load_strategies([definition.strategy])
    if not strategies:
        raise InputError(
            f"label {definition.name!r}: strategy {definition.strategy!r} is not stored; simulate it first: "
            "'quantbot backfill'"
        )
    horizon = max(parse_strategy(row.config).horizon_seconds for row in strategies)
    trades = load_past_trades(
        definition.strategy,
        np.array([call.call_id for call in calls], dtype=np.int64),
        np.array([call.caller_id for call in calls], dtype=np.int64),
        signal,
        state,
        history,
    )
    token_of = {call.call_id: call.token for call in calls}
    tokens = [token_of[call_id] for call_id in trades["call_id"].to_pylist()]
    series = StoredSeries.load(history, set(tokens))
    # Of the candles that the trade was made on: others of the token may reach further.
    last_opened_at = [
        months[-1].last_s if (months := series.of(token).get(interval)) else 0
        for token, interval in zip(tokens, trades["interval_seconds"].to_pylist(), strict=True)
    ]
    # The time of a trade is over by then: it begins at the first event, or before.
    is_covered = integer_column(trades, "began_at") + horizon <= np.array(last_opened_at, dtype=np.int64)
    return build_labels(definition, trades.filter(pa.array(is_covered)))


def _candle_labels(definition: CandleLabel, calls: list[CallRow], signal: IntArray, history: HistoryStore) -> pa.Table:
    call_id = np.array([call.call_id for call in calls], dtype=np.int64)
    position = {token: place for place, token in enumerate(dict.fromkeys(call.token for call in calls))}
    tokens = list(position)
    of_token = {
        tokens[place]: rows
        for place, rows in rows_by_key(np.array([position[call.token] for call in calls], dtype=np.int64))
    }
    series = StoredSeries.load(history, tokens)
    reach = definition.max_staleness_seconds + definition.horizon_seconds
    reaches = {
        token: Reach(int(signal[rows].min()), int(signal[rows].max()) + reach, 0, 0, with_next=True)
        for token, rows in of_token.items()
    }
    parts = [LABEL_SCHEMA.empty_table()]
    for batch in series.batches(reaches):
        candles = series.load_candles(history, {token: reaches[token] for token in batch})
        parts += [
            build_barrier_labels(
                definition, call_id[of_token[token]], signal[of_token[token]], list(candles.get(token, {}).values())
            )
            for token in batch
        ]
    return pa.concat_tables(parts).sort_by([("signal_timestamp", "ascending"), ("call_id", "ascending")])
