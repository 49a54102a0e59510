"""Both engines, to run one proof on each, and all of a trade as text to compare."""

from collections.abc import Callable

import pytest

from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.fast import simulate_fast
from quantbot_pipeline.engine.reference import simulate_reference

Simulate = Callable[..., list[Trade]]
"""An engine: candles, calls and a strategy in (and `report_call_ids`), trades out."""

ENGINES: dict[str, Simulate] = {"reference": simulate_reference, "fast": simulate_fast}

on_both_engines = pytest.mark.parametrize("simulate", list(ENGINES.values()), ids=list(ENGINES))
"""Run a test with `simulate` being each engine."""


def as_text(trade: Trade) -> str:
    """Return all of a trade as text; floats as the shortest text that tells them apart."""
    return repr(
        [
            trade.call_id,
            trade.caller_id,
            trade.signal_timestamp,
            trade.events,
            trade.pnl,
            trade.cash_spent,
            trade.entered_at,
            trade.done_at,
            trade.holding_seconds,
            trade.max_adverse_excursion,
            trade.max_favourable_excursion,
            trade.mark_timestamp.tolist(),
            trade.mark_value.tolist(),
            trade.interval_seconds,
        ]
    )
