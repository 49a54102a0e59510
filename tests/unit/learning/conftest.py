"""Data sets with and without a signal, for training tests."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest


class DataSet(NamedTuple):
    """Features and labels of the same calls."""

    features: pa.Table
    labels: pa.Table


def make_data_set(*, rows: int = 400, strength: float, seed: int = 0) -> DataSet:
    """Return calls one hour apart whose pnl is `strength` times a feature plus noise."""
    generator = np.random.default_rng(seed)
    hidden = generator.normal(size=rows)
    pnl = strength * hidden + generator.normal(size=rows)
    holes = np.where(generator.random(rows) < 0.2, np.nan, generator.normal(size=rows))
    call_id = 1000 + np.arange(rows)
    signal = 1_704_067_200 + 3600 * np.arange(rows)
    features = pa.table(
        {
            "call_id": call_id,
            "return_24h": hidden,
            "volatility_24h": holes,
            "caller_win_rate": np.where(np.arange(rows) < 10, np.nan, generator.random(rows)),
            "log_market_cap": np.full(rows, np.nan),
        }
    )
    labels = pa.table(
        {
            "call_id": call_id,
            "signal_timestamp": signal,
            "label": (pnl > 0).astype(np.int64),
            "label_end": signal + 7200,
            "pnl": pnl,
        }
    )
    # In another order: what belongs together is found by call.
    order = generator.permutation(rows)
    return DataSet(features.take(pa.array(order)), labels)


def with_pnl_as_label(data: DataSet) -> DataSet:
    """Return the same calls, whose label is the pnl itself."""
    place = data.labels.column_names.index("label")
    return DataSet(data.features, data.labels.set_column(place, "label", data.labels.column("pnl")))


@pytest.fixture(scope="session")
def planted() -> DataSet:
    """Four hundred calls whose pnl a feature explains by two thirds."""
    return make_data_set(strength=1.5)
