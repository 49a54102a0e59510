"""Features of calls: what was known at `signal_timestamp`, and nothing else.

`feature_registry` says which features there are, `call_features` and `candle_features` compute them; here they become
one table. The tests change everything after a time T and expect the features of calls at or before T to stay the
same, bit by bit; for this every value is computed from its own window of known rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.call_features import (
    CallArrays,
    FeatureCall,
    attribute_columns,
    call_arrays,
    call_columns,
)
from quantbot_pipeline.learning.candle_features import CANDLE_COLUMNS, CandleSeries, candle_columns
from quantbot_pipeline.learning.feature_registry import FEATURE_NAMES
from quantbot_pipeline.learning.hindsight import read_attribute_features
from quantbot_pipeline.learning.past_trades import PastTrade


def build_features(
    calls: Sequence[FeatureCall],
    candles: Mapping[TokenKey, Candles | Sequence[Candles]],
    trades: pa.Table | Sequence[PastTrade],
    *,
    attributes: Sequence[str] = (),
) -> pa.Table:
    """Return the features of every call, all of them in memory.

    Args:
        calls: All entry calls, in any order: they are also what "earlier calls" are counted among.
        candles: All candles per token, valid, of one interval or several; they may run past the calls. A token may
            be absent.
        trades: Trades of earlier simulations; trades that never bought (pnl null) are left out of the
            caller's record. Give one strategy's trades for a record under that strategy.
        attributes: Further features from the alerts' own columns, `attribute:<column>`.

    Returns:
        A table with `call_id` (int64) and one float64 column per feature of the registry and of `attributes`, NaN
        where it is unknown, never infinite; one row per call in the order given.

    Raises:
        LearningError: a call id occurs twice, or the table of trades is not one of past trades.
        InputError: an attribute is not of that form, or tells what became of the call.
    """
    names = read_attribute_features(attributes)
    arrays = call_arrays(calls)
    columns = call_columns(arrays, trades, attribute_columns(calls, names))
    columns |= {name: np.full(len(calls), np.nan) for name in CANDLE_COLUMNS}
    for token, rows in arrays.rows_by_token():
        found = candles.get(token, ())
        every = [found] if isinstance(found, Candles) else found
        series = [CandleSeries.whole(each) for each in every if len(each)]
        for name, values in candle_columns(series, arrays.signal[rows], arrays.log_price[rows]).items():
            columns[name][rows] = values
    return feature_table(arrays, columns, names)


def feature_table(calls: CallArrays, columns: Mapping[str, FloatArray], attributes: Sequence[str]) -> pa.Table:
    """Return `call_id` and the features in the order of the registry, then those of the user."""
    return pa.table(
        {
            "call_id": pa.array(calls.call_id),
            **{name: pa.array(columns[name]) for name in (*FEATURE_NAMES, *attributes)},
        }
    )
