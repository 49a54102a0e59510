"""What a trial earned: its metrics over any of the calls of a search, and its result on each of them.

A trial is simulated once over all calls. Its metrics over a training window, a look or everything are those of its
trades on these calls, so nothing is simulated again. Where calls do not exclude each other, this is what a simulation
of the window alone gives; else it is what a strategy earned there that ran on all calls from the first on, which still
depends on no later call.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.engine.fast import ReportedResults, StrategyRun
from quantbot_pipeline.engine.kernels import layout
from quantbot_pipeline.engine.metrics import KnownCurves, metric_values
from quantbot_pipeline.optimization.objectives import Objective

CURVE_METRICS = frozenset({"volatility", "sharpe_ratio", "sortino_ratio", "max_drawdown", "calmar"})
"""Metrics that follow from the curve of all trades together, which takes longer than the simulation."""

_NO_CURVES = KnownCurves(np.empty(0), 0.0)
"""For metrics that do not follow from curves."""


@dataclass(frozen=True, slots=True)
class SearchCalls:
    """The calls that a search is about, ordered by time and id.

    Attributes:
        call_id: Ids, int64, shape (n_calls,).
        signal_timestamp: Times, seconds, int64, ascending.
        position: Call id → place in these arrays.
    """

    call_id: IntArray
    signal_timestamp: IntArray
    position: Mapping[int, int]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> "SearchCalls":
        """Return calls, whatever their order; their ids are unique."""
        ordered = sorted(calls, key=lambda call: (call.signal_timestamp, call.call_id))
        ids = [call.call_id for call in ordered]
        return cls(
            np.array(ids, dtype=np.int64),
            np.array([call.signal_timestamp for call in ordered], dtype=np.int64),
            {call_id: place for place, call_id in enumerate(ids)},
        )

    def places(self, calls: Sequence[Call]) -> IntArray:
        """Return where calls are among these, -1 for those that are not."""
        return np.array([self.position.get(call.call_id, -1) for call in calls], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.call_id)


@dataclass(frozen=True, slots=True)
class MeasuredTrial:
    """What came of a trial on all calls.

    Attributes:
        metrics: Over all calls: every metric of the engine, or what the objective reads, as was asked for.
        pnl: Net result of each call, 0 where it did not buy, float64, shape (n_calls,).
        is_bought: Where it bought, same shape.
        done_at: When each trade was done, seconds; the time of the call where it did not buy.
        window_metrics: Over the calls of each window that was asked for: what the objective reads.
    """

    metrics: dict[str, Any]
    pnl: FloatArray
    is_bought: BoolArray
    done_at: IntArray
    window_metrics: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """Calls that a choice may be made by.

    Attributes:
        calls: Whether a call is one of them, shape (n_calls,).
        known_by: A trade counts that was done by this time, seconds.
    """

    calls: BoolArray
    known_by: int


def measured(
    run: StrategyRun,
    place_of_call: IntArray,
    calls: SearchCalls,
    objective: Objective,
    windows: Sequence[TrainingWindow] = (),
    metrics: Collection[str] | None = None,
) -> MeasuredTrial:
    """Return what came of a trial.

    Args:
        run: The trial on all calls (and maybe further ones, which are left out).
        place_of_call: Of each call of the run's markets, as `SearchCalls.places` returns them.
        calls: The calls of the search.
        objective: Decides which metrics of windows are needed.
        windows: For which metrics are wanted.
        metrics: Names of those that are wanted over all calls; None: every one.
    """
    place = place_of_call[run.trades_of]
    if (place < 0).any():
        run = run.select(place >= 0)
        place = place[place >= 0]
    pnl = np.zeros(len(calls))
    is_bought = np.zeros(len(calls), dtype=np.bool_)
    done_at = calls.signal_timestamp.copy()
    bought = run.marks[:, layout.RESULT_FILLS] > 0
    is_bought[place] = bought
    pnl[place] = np.where(bought, run.amounts[:, layout.RESULT_PNL], 0.0)
    done_at[place] = np.where(bought, run.marks[:, layout.RESULT_DONE_AT], done_at[place])
    wanted = objective.metrics()
    needs_curves = not CURVE_METRICS.isdisjoint(wanted)
    found = []
    for window in windows:
        kept = window.calls[place] & (done_at[place] <= window.known_by)
        # Trades are put together for their curves alone; all else is found in place.
        values = (
            run.select(kept).metric_values(wanted)
            if needs_curves
            else metric_values(ReportedResults(run.amounts, run.marks, kept), _NO_CURVES, wanted)
        )
        found.append(_plain(values))
    return MeasuredTrial(_plain(run.metric_values(metrics)), pnl, is_bought, done_at, tuple(found))


def _plain(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics as Python's own numbers, which JSON takes."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in metrics.items()}
