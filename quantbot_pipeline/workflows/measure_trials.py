"""Trials on the data of a job, by as many threads as are allowed; their number changes no result."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.fast import StrategyRun
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.simulation_work import SimulationWork
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial, SearchCalls, TrainingWindow, measured
from quantbot_pipeline.optimization.objectives import Objective
from quantbot_pipeline.optimization.search import Failure
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.optimization_data import JobData
from quantbot_pipeline.workflows.simulate_together import markets_of

Measured = MeasuredTrial | Failure

_PLACES_HELD = 16


class TrialMeter:
    """Measures trials; use as a context manager, which ends its threads.

    Args:
        data: What trials read.
        calls: The calls of the search.
        objective: Decides what is measured in windows.
        threads: How many trials are simulated at once, at least 1.
        widen: Loads the data of strategies that read more than was loaded.

    Attributes:
        data: What trials read; replaced where one reads more.
    """

    def __init__(
        self,
        data: JobData,
        calls: SearchCalls,
        objective: Objective,
        *,
        threads: int,
        widen: Callable[[Sequence[Strategy]], JobData],
    ) -> None:
        self.data = data
        self._widen = widen
        self._calls = calls
        self._objective = objective
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        # By the identity of markets, which are held here so that none takes the place of another.
        self._places: dict[int, tuple[PreparedMarkets, IntArray]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def measure(
        self,
        strategies: Sequence[Strategy],
        windows: Sequence[TrainingWindow] = (),
        *,
        every_metric: bool = False,
    ) -> list[Measured]:
        """Return what came of strategies on all calls, in their order; of one that can't be run, why.

        Args:
            strategies: What to do on a call.
            windows: Training windows for which metrics are wanted too.
            every_metric: Whether all metrics over all calls are wanted, not only what the objective reads; those that
                follow from curves may take as long as the simulation.
        """
        if not all(self.data.covers(strategy) for strategy in strategies):
            self.data = self._widen(strategies)
        return self._each(
            [(strategy, self.data.reading(strategy).markets) for strategy in strategies],
            windows,
            every_metric=every_metric,
        )

    def measure_tokens(
        self, strategies: Sequence[Strategy], tokens: frozenset[TokenKey], *, every_metric: bool = False
    ) -> list[Measured]:
        """Return what came of strategies on the calls of some tokens alone."""
        if not all(self.data.covers(strategy) for strategy in strategies):
            self.data = self._widen(strategies)
        work = []
        known: dict[int, PreparedMarkets] = {}
        for strategy in strategies:
            parts = self.data.parts(strategy)
            if id(parts) not in known:
                known[id(parts)] = markets_of([part for part in parts if part.token in tokens])
            work.append((strategy, known[id(parts)]))
        found = self._each(work, (), every_metric=every_metric)
        for markets in known.values():
            self._places.pop(id(markets), None)
        return found

    def measure_on(self, strategies: Sequence[Strategy], markets: PreparedMarkets) -> list[Measured]:
        """Return what came of strategies on other markets with the same calls, such as calls at other times."""
        found = self._each([(each, markets) for each in strategies], (), every_metric=False)
        self._places.pop(id(markets), None)
        return found

    def _each(
        self,
        work: Sequence[tuple[Strategy, PreparedMarkets]],
        windows: Sequence[TrainingWindow],
        *,
        every_metric: bool,
    ) -> list[Measured]:
        metrics = None if every_metric else self._objective.metrics()
        found: list[Measured] = []
        under_way: deque[Measured | Future[Measured]] = deque()
        for strategy, markets in work:
            place = self._place(markets)
            try:
                # Signals are evaluated here, by one thread; few strategies wait for the others, so little is held.
                prepared = SimulationWork(markets, strategy, None, trace=False)
            except Exception as error:  # noqa: BLE001 - whatever one trial stumbles over must not end the search
                under_way.append(_failure(error))
                continue
            if self._pool is None:
                under_way.append(self._measure(prepared, place, windows, metrics))
            else:
                under_way.append(self._pool.submit(self._measure, prepared, place, windows, metrics))
            if len(under_way) > 2 * self._threads:
                found.append(_result(under_way.popleft()))
        return found + [_result(each) for each in under_way]

    def _measure(
        self,
        work: SimulationWork,
        place: IntArray,
        windows: Sequence[TrainingWindow],
        metrics: Collection[str] | None,
    ) -> Measured:
        try:
            work.run()
            run = StrategyRun(work, trace=False)
            return measured(run, place, self._calls, self._objective, windows, metrics)
        except Exception as error:  # noqa: BLE001 - as above
            return _failure(error)

    def _place(self, markets: PreparedMarkets) -> IntArray:
        found = self._places.get(id(markets))
        if found is None:
            if len(self._places) >= _PLACES_HELD:
                self._places.clear()
            found = self._places[id(markets)] = (markets, self._calls.places(markets.calls))
        return found[1]


def run_again(index: int, found: Measured) -> MeasuredTrial:
    """Return what came of a trial that was run before.

    Args:
        index: Its number.
        found: What came of it now.

    Raises:
        SimulationError: it fails now.
    """
    if isinstance(found, Failure):
        raise SimulationError(f"trial {index} was run before and fails now: {found.reason}")
    return found


def _result(each: Measured | Future[Measured]) -> Measured:
    return each.result() if isinstance(each, Future) else each


def _failure(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}")
