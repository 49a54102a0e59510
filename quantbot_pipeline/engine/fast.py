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
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.events import Event, Trade
from quantbot_pipeline.engine.fast_events import EventRows, events_of_rows, table_of_rows
from quantbot_pipeline.engine.fast_metrics import MarkedTrades, metrics_of_marked
from quantbot_pipeline.engine.kernels import layout as kernels
from quantbot_pipeline.engine.metrics import Metrics, TradeResults
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.simulation_work import SimulationWork
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.compile import NONE
from quantbot_pipeline.strategy.model import Strategy


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
    def results(self) -> TradeResults:
        """The results of the reported trades."""
        bought = self.marks[:, kernels.RESULT_FILLS] > 0
        amounts, marks = self.amounts[bought], self.marks[bought]
        has_bought = len(marks) > 0
        return TradeResults(
            pnl=np.ascontiguousarray(amounts[:, kernels.RESULT_PNL]),
            cash_spent=amounts[:, kernels.RESULT_CASH_SPENT],
            holding_seconds=marks[:, kernels.RESULT_HOLDING_SECONDS],
            max_adverse_excursion=float(amounts[:, kernels.RESULT_ADVERSE].min()) if has_bought else 0.0,
            max_favourable_excursion=float(amounts[:, kernels.RESULT_FAVOURABLE].max()) if has_bought else 0.0,
            done_at=int(marks[:, kernels.RESULT_DONE_AT].max()) if has_bought else 0,
            skipped_count=len(bought) - len(marks),
            re_entries=int(marks[:, kernels.RESULT_RE_ENTRIES].sum()),
            ladder_entries=int(marks[:, kernels.RESULT_LADDER_ENTRIES].sum()),
            target_hits=int(marks[:, kernels.RESULT_TARGET_HITS].sum()),
            stopped_out=int(np.count_nonzero(marks[:, kernels.RESULT_INITIAL_STOPS])),
        )

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
            part = copy(self)
            part.trades_of = self.trades_of[begin:end]
            part.amounts = self.amounts[begin:end]
            part.marks = self.marks[begin:end]
            yield key, part

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
        return metrics_of_marked(self.results, self.marked)


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
