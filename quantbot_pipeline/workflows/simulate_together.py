"""One strategy on many token windows at once: the engine is asked once, and its answer is taken apart by window.

Each window gets what it would get by itself, to the last bit: the engine computes every token, or where calls do not
exclude each other every trade, for itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.fast import StrategyRun, iterate_runs
from quantbot_pipeline.engine.kernels.layout import RESULT_EVENTS
from quantbot_pipeline.engine.prepared_markets import SIGNAL_CACHE_BYTES, PreparedMarkets
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.simulation_inputs import TokenInput


@dataclass(frozen=True, slots=True)
class SimulatedWindow:
    """What came of a strategy on one window.

    Attributes:
        run: Its reported trades.
        events: Their events.
    """

    run: StrategyRun
    events: pa.Table


def simulate_together(
    windows: Sequence[TokenInput], strategy: Strategy, *, threads: int = 1, markets: PreparedMarkets | None = None
) -> list[SimulatedWindow]:
    """Simulate a strategy on windows, and return what came of each, in their order.

    Args:
        windows: What each reads; each has calls.
        strategy: The strategy.
        threads: Over how many threads the calls are spread; changes no result.
        markets: `markets_of(windows)`, where it was made before.

    Raises:
        SimulationError: a window can't be simulated; which one it doesn't say.
    """
    [run] = iterate_runs(markets or markets_of(windows), [strategy], threads=threads)
    _keep_reported(run, windows)
    events = run.events_table()
    parts = [part for _, part in run.parts()]
    ends = np.cumsum([part.marks[:, RESULT_EVENTS].sum() for part in parts], dtype=np.int64).tolist()
    begins = [0, *ends[:-1]]
    return [
        SimulatedWindow(part, events.slice(begin, end - begin))
        for part, begin, end in zip(parts, begins, ends, strict=True)
    ]


def markets_of(windows: Sequence[TokenInput], *, cache_bytes: int = SIGNAL_CACHE_BYTES) -> PreparedMarkets:
    """Return candles and calls of windows in the engine's form.

    Args:
        windows: What each reads.
        cache_bytes: See `PreparedMarkets`.
    """
    return PreparedMarkets(
        {k: window.candles for k, window in enumerate(windows)},
        {k: window.calls for k, window in enumerate(windows)},
        cache_bytes=cache_bytes,
    )


def _keep_reported(run: StrategyRun, windows: Sequence[TokenInput]) -> None:
    """Leave out trades of calls that a window only reads, because their trades may be open in it."""
    calls, token = run.markets.calls, run.markets.token
    kept = np.array(
        [calls[k].call_id in windows[token[k]].reported_call_ids for k in run.trades_of.tolist()], dtype=bool
    )
    if not kept.all():
        run.trades_of, run.amounts, run.marks = run.trades_of[kept], run.amounts[kept], run.marks[kept]
