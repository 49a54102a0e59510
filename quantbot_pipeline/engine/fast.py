"""The fast engine: the reference engine's results, by compiled kernels, for many tokens and strategies at once.

`PreparedMarkets` holds candles and calls as the arrays that the kernels read, and the indicators that were computed on
them; strategies share it. `StrategyRun` is what came of one strategy: arrays, from which trades, the event
table and the metrics are made on demand. Nothing here depends on the number of threads: every trade is
computed by itself (or, where calls exclude each other, every token), and sums run in the order of the calls.
"""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import BoolArray, Candles, FloatArray, IntArray
from quantbot_pipeline.engine.events import Event, Trade
from quantbot_pipeline.engine.fast_events import EventRows, events_of_rows, table_of_rows
from quantbot_pipeline.engine.fast_metrics import MarkedCurves, MarkedTrades
from quantbot_pipeline.engine.kernels import layout as kernels
from quantbot_pipeline.engine.metrics import Metrics, metric_values
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.simulation_work import SimulationWork
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.compile import NONE
from quantbot_pipeline.strategy.model import Strategy


class ReportedResults:
    """The results of reported trades, as `Results` describes them; each is found when it is asked for.

    Args:
        amounts: Of each trade, columns `RESULT_…` of the kernels, float64.
        marks: The same, whole numbers.
        rows: Which of the trades are meant, shape (n_trades,); None: all.
    """

    def __init__(self, amounts: FloatArray, marks: IntArray, rows: BoolArray | None = None) -> None:
        self._amounts, self._marks, self._rows = amounts, marks, rows

    @cached_property
    def _bought(self) -> BoolArray:
        has_bought = self._marks[:, kernels.RESULT_FILLS] > 0
        return has_bought if self._rows is None else has_bought & self._rows

    def _amount(self, column: int) -> FloatArray:
        found: FloatArray = self._amounts[self._bought, column]
        return found

    def _mark(self, column: int) -> IntArray:
        found: IntArray = self._marks[self._bought, column]
        return found

    @property
    def pnl(self) -> FloatArray:
        """Result of each, fraction of the capital."""
        return self._amount(kernels.RESULT_PNL)

    @property
    def cash_spent(self) -> FloatArray:
        """Cash of all buys of each."""
        return self._amount(kernels.RESULT_CASH_SPENT)

    @property
    def holding_seconds(self) -> IntArray:
        """Sum over the cycles of each."""
        return self._mark(kernels.RESULT_HOLDING_SECONDS)

    @property
    def max_adverse_excursion(self) -> float:
        """Worst of all; 0 without trades."""
        found = self._amount(kernels.RESULT_ADVERSE)
        return float(found.min()) if len(found) else 0.0

    @property
    def max_favourable_excursion(self) -> float:
        """Best of all; 0 without trades."""
        found = self._amount(kernels.RESULT_FAVOURABLE)
        return float(found.max()) if len(found) else 0.0

    @property
    def done_at(self) -> int:
        """Time of the last event of all, seconds; 0 without trades."""
        return int(self._mark(kernels.RESULT_DONE_AT).max(initial=0))

    @property
    def skipped_count(self) -> int:
        """Calls that never bought."""
        asked = len(self._marks) if self._rows is None else np.count_nonzero(self._rows)
        return int(asked - np.count_nonzero(self._bought))

    @property
    def re_entries(self) -> int:
        """`re_entry` events."""
        return int(self._mark(kernels.RESULT_RE_ENTRIES).sum())

    @property
    def ladder_entries(self) -> int:
        """`ladder_entry` events."""
        return int(self._mark(kernels.RESULT_LADDER_ENTRIES).sum())

    @property
    def target_hits(self) -> int:
        """`target_hit` events."""
        return int(self._mark(kernels.RESULT_TARGET_HITS).sum())

    @property
    def stopped_out(self) -> int:
        """Trades that the initial stop ended in some cycle."""
        return int(np.count_nonzero(self._mark(kernels.RESULT_INITIAL_STOPS)))


class StrategyRun:
    """What came of one strategy on prepared markets.

    Attributes:
        strategy: The strategy.
        markets: What it ran on.
        trades_of: Positions of the calls that a trade is reported for, in the order of (key, signal_timestamp,
            call_id), shape (n_trades,).
        amounts: Result of each reported trade, columns `RESULT_…` of the kernels, float64.
        marks: The same, whole numbers.
    """

    def __init__(self, work: SimulationWork, *, trace: bool) -> None:
        """Take the results of work that ran; `trace` says whether its events were kept."""
        self.strategy = work.strategy
        self.markets = work.markets
        self._compiled = work.compiled
        self.trades_of = np.flatnonzero((work.result_marks[:, kernels.RESULT_IS_TRADE] & work.is_reported) != 0)
        self.amounts: FloatArray = work.result_amounts
        self.marks: IntArray = work.result_marks
        if len(self.trades_of) < len(self.marks):
            self.amounts, self.marks = self.amounts[self.trades_of], self.marks[self.trades_of]
        self._rows = EventRows(work.event_amounts, work.event_marks) if trace else None
        self._fills = (work.fill_amounts, work.fill_candles)

    @property
    def candle_steps(self) -> int:
        """How many candles the reported trades went through, from candle a until they were done."""
        return int(self.marks[:, kernels.RESULT_STEPS].sum())

    @property
    def marked(self) -> MarkedTrades:
        """The reported trades that bought."""
        bought = np.flatnonzero(self.marks[:, kernels.RESULT_FILLS] > 0)
        return MarkedTrades(
            addresses=self.markets.addresses,
            choices=self._compiled.choices,
            quantities=self._compiled.quantities,
            trades=np.ascontiguousarray(
                np.stack(
                    [
                        self.markets.token[self.trades_of[bought]],
                        self.marks[bought, kernels.RESULT_FIRST_FILL],
                        self.marks[bought, kernels.RESULT_FILLS],
                    ],
                    axis=1,
                )
            ),
            fill_amounts=self._fills[0],
            fill_candles=self._fills[1],
        )

    @property
    def results(self) -> ReportedResults:
        """The results of the reported trades."""
        return ReportedResults(self.amounts, self.marks)

    def _reported_rows(self) -> EventRows:
        """Return the events of the reported trades, in the order of the trades and of seq."""
        if self._rows is None:
            raise SimulationError("this run kept no events; simulate with trace=True to read trades or events")
        first = self.marks[:, kernels.RESULT_FIRST_EVENT]
        count = self.marks[:, kernels.RESULT_EVENTS]
        return self._rows.select(first, count)

    def _indicator_values(self, rows: EventRows) -> dict[str, FloatArray]:
        """Return the strategy's indicators at the close that each event knew, NaN where none was known."""
        token = self.markets.token[self.trades_of[rows.trade]]
        closes = rows.marks[:, kernels.EVENT_CLOSE]
        return {
            label: self.markets.indicator_values(operand, token, closes)
            for label, operand in self.strategy.indicators().items()
        }

    def parts(self) -> Iterator[tuple[Hashable, "StrategyRun"]]:
        """Yield each key with the run of its trades alone, in the order of the markets, without simulating again."""
        token_of_trade = self.markets.token[self.trades_of]
        ends = np.searchsorted(token_of_trade, np.arange(len(self.markets.keys) + 1)).tolist()
        for key, (begin, end) in zip(self.markets.keys, pairwise(ends), strict=True):
            yield key, self.select(slice(begin, end))

    def select(self, rows: slice | BoolArray) -> "StrategyRun":
        """Return the run of some of the reported trades alone, without simulating again.

        Args:
            rows: Which of them: a range, or a flag of each, shape (n_trades,).
        """
        part = copy(self)
        part.trades_of, part.amounts, part.marks = self.trades_of[rows], self.amounts[rows], self.marks[rows]
        return part

    def events_table(self) -> pa.Table:
        """Return all events as Arrow, the table that `events_to_arrow` makes of the same trades.

        Raises:
            SimulationError: the run was made without trace.
        """
        rows = self._reported_rows()
        call_ids = np.array([self.markets.calls[k].call_id for k in self.trades_of.tolist()], dtype=np.int64)
        return table_of_rows(
            rows, call_ids, self._exit_call_ids(rows), self._indicator_values(rows), self._compiled.leg_ids
        )

    def _exit_call_ids(self, rows: EventRows) -> list[int]:
        """Return the id of the call that caused each event, -1 where none did."""
        calls = self.markets.calls
        return [calls[k].call_id if k >= 0 else NONE for k in rows.marks[:, kernels.EVENT_CALL].tolist()]

    def trades(self) -> dict[Hashable, list[Trade]]:
        """Return the reported trades by key, each list as `simulate_reference` returns it.

        Raises:
            SimulationError: the run was made without trace.
        """
        rows = self._reported_rows()
        positions = self.trades_of.tolist()
        events = events_of_rows(
            rows,
            [self.markets.calls[k].call_id for k in positions],
            self._exit_call_ids(rows),
            self._indicator_values(rows),
            self._compiled.leg_ids,
        )
        marked = iter(self.marked.marks_per_trade())
        nothing = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))
        by_key: dict[Hashable, list[Trade]] = {key: [] for key in self.markets.keys}
        for k, amounts, marks, of_trade in zip(
            positions, self.amounts.tolist(), self.marks.tolist(), events, strict=True
        ):
            token = int(self.markets.token[k])
            timestamps, values = next(marked) if marks[kernels.RESULT_FILLS] else nothing
            by_key[self.markets.keys[token]].append(
                _trade(
                    self.markets.calls[k],
                    self.markets.candles[token].interval_seconds,
                    amounts,
                    marks,
                    of_trade,
                    timestamps,
                    values,
                )
            )
        return by_key

    def metrics(self) -> Metrics:
        """Return the metrics of all reported trades; equal to `run_metrics` of the same trades in this order."""
        return Metrics(**self.metric_values())

    def metric_values(self, names: Collection[str] | None = None) -> dict[str, Any]:
        """Return metrics by name, as `metrics` has them, and work out no others.

        Args:
            names: Fields of `Metrics`; None: all of them.
        """
        results = self.results
        return metric_values(results, MarkedCurves(results, self.marked), names)


def _trade(
    call: Call,
    interval_seconds: int,
    amounts: list[float],
    marks: list[int],
    events: tuple[Event, ...],
    mark_timestamp: IntArray,
    mark_value: FloatArray,
) -> Trade:
    return Trade(
        call_id=call.call_id,
        caller_id=call.caller_id,
        signal_timestamp=call.signal_timestamp,
        events=events,
        pnl=amounts[kernels.RESULT_PNL],
        cash_spent=amounts[kernels.RESULT_CASH_SPENT],
        entered_at=marks[kernels.RESULT_ENTERED_AT] if marks[kernels.RESULT_FILLS] else None,
        done_at=marks[kernels.RESULT_DONE_AT],
        holding_seconds=marks[kernels.RESULT_HOLDING_SECONDS],
        max_adverse_excursion=amounts[kernels.RESULT_ADVERSE],
        max_favourable_excursion=amounts[kernels.RESULT_FAVOURABLE],
        mark_timestamp=mark_timestamp,
        mark_value=mark_value,
        interval_seconds=interval_seconds,
    )


def iterate_runs(
    markets: PreparedMarkets,
    strategies: Iterable[Strategy],
    *,
    threads: int = 1,
    trace: bool = True,
    report_call_ids: Collection[int] | None = None,
) -> Iterator[StrategyRun]:
    """Simulate strategies one after the other, each on all tokens; memory does not grow with their number.

    A run holds its events, about 150 bytes each, until it is dropped.

    Args:
        markets: Candles and calls.
        strategies: What to do on a call; taken as they are needed.
        threads: Over how many threads the calls of a strategy are spread; changes no result.
        trace: Whether events are kept; without them a run has results and metrics only.
        report_call_ids: Report only the trades of these calls; all calls still act. None reports all.
    """
    with ThreadPoolExecutor(max(1, threads - 1)) as helpers:
        for strategy in strategies:
            work = SimulationWork(markets, strategy, report_call_ids, trace=trace)
            work.run(threads, helpers)
            yield StrategyRun(work, trace=trace)


def simulate_many(
    candles: Mapping[Any, Candles],
    calls: Mapping[Any, Sequence[Call]],
    strategies: Sequence[Strategy],
    *,
    threads: int = 1,
    trace: bool = True,
    report_call_ids: Collection[int] | None = None,
) -> list[StrategyRun]:
    """Simulate strategies on the calls of many tokens, and keep all runs.

    `iterate_runs` gives the same runs one at a time, in memory that does not grow with the number of strategies.

    Args:
        candles: By key (a token, or whatever names one set of candles); each as for `simulate_reference`.
        calls: By the same keys; keys without calls may be left out.
        strategies: What to do on a call.
        threads: Over how many threads the calls are spread; changes no result.
        trace: Whether events are kept; without them a run has results and metrics only.
        report_call_ids: Report only the trades of these calls; all calls still act. None reports all.

    Returns:
        One run per strategy, in their order.

    Raises:
        SimulationError: calls without candles, or two calls of a key with the same id.
    """
    markets = PreparedMarkets(candles, calls)
    return list(iterate_runs(markets, strategies, threads=threads, trace=trace, report_call_ids=report_call_ids))


def score_many(markets: PreparedMarkets, strategies: Iterable[Strategy], *, threads: int = 1) -> list[Metrics]:
    """Return the metrics of each strategy, in their order: a search's inner loop.

    Every thread takes whole strategies; no more runs than threads are held at once.

    Args:
        markets: Candles and calls.
        strategies: What to do on a call; taken as they are needed.
        threads: How many threads there are; changes no result.
    """
    if threads == 1:
        return [run.metrics() for run in iterate_runs(markets, strategies, trace=False)]

    def score(work: SimulationWork) -> Metrics:
        work.run()
        return StrategyRun(work, trace=False).metrics()

    metrics: list[Metrics] = []
    under_way: deque[Future[Metrics]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for strategy in strategies:
            # Signals are evaluated here, by one thread; few of them wait for the others.
            under_way.append(pool.submit(score, SimulationWork(markets, strategy, None, trace=False)))
            if len(under_way) > 2 * threads:
                metrics.append(under_way.popleft().result())
        metrics += [scored.result() for scored in under_way]
    return metrics


def simulate_fast(
    candles: Candles,
    calls: Sequence[Call],
    strategy: Strategy,
    *,
    report_call_ids: Collection[int] | None = None,
) -> list[Trade]:
    """Simulate a strategy on all calls on one token; the same as `simulate_reference`, quicker.

    Args:
        candles: Of the token, one interval, valid (`Candles.validate`).
        calls: All calls on the token that may matter, in any order. Call ids are unique.
        strategy: What to do on a call.
        report_call_ids: Return only the trades of these calls; all calls still act. None returns all.

    Returns:
        One trade per entry call, and one per scale-in call that found nothing to scale, in the order of
        (signal_timestamp, call_id).

    Raises:
        SimulationError: two calls have the same id.
    """
    asked = list(calls)
    run = simulate_many({None: candles}, {None: asked}, [strategy], report_call_ids=report_call_ids)[0]
    return run.trades().get(None, [])
