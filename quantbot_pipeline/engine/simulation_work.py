"""One strategy on prepared markets as work for threads: pieces of neighbouring calls, and what they write to.

All pieces write to the same buffers, each within rows of its own, so nothing has to be put together afterwards; a piece
whose rows are used up stops, gets more of them behind all others, and goes on.

Where a strategy has conditions on scores, its signals say other things for other calls. The kernels know one truth per
token and candle; so each token stands in their tables once for everything that the conditions say of any call, and a
task names the one that its calls go by.
"""

import queue
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.fast_signals import Truths
from quantbot_pipeline.engine.kernels import layout
from quantbot_pipeline.engine.kernels.trades import simulate_tasks_nb
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.score_conditions import bind_scores, group_by_truths
from quantbot_pipeline.strategy.compile import NONE, Choice, OverlapKind, compile_strategy
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.strategy.signals import ScoreCondition, SignalNode

ROWS_PER_CALL = 12
"""A piece begins with this many rows of events and fills per call, and gets more where the strategy needs them."""

PIECES_PER_THREAD = 4
"""Calls differ in how long they take: threads that are through early take what others did not begin yet."""

_TASK_PHASE = 3
"""Column of tasks that are taken one by one: with which phase of the kernel they begin."""

CALLS_PER_PIECE = 64
"""Pieces of fewer calls would cost more than they spare."""


_Number = TypeVar("_Number", np.float64, np.int64)


@dataclass(eq=False, slots=True)
class Piece:
    """Calls that one thread takes at a time.

    Attributes:
        tasks: Tasks of the kernel.
        cursor: Where the kernel stands; its counts of events and fills are rows of the buffers.
        rows: How many rows the piece got last.
        end: Where they end.
        is_done: Whether all its calls are simulated.
        tasks_done: Of tasks that are taken one by one, how many are done.
    """

    tasks: IntArray
    cursor: IntArray
    rows: int
    end: int = 0
    is_done: bool = False
    tasks_done: int = 0


class SimulationWork:
    """One strategy on prepared markets.

    Attributes:
        markets: The markets.
        strategy: The strategy.
        compiled: The strategy as the kernels read it.
        is_reported: 1 for calls whose trade is asked for, shape (n_calls,).
        result_amounts: Result of each call, columns `RESULT_…`, float64; all 0 for calls without a trade.
        result_marks: The same, whole numbers.
        event_amounts: Events of all trades, each trade's one after the other from its `RESULT_FIRST_EVENT` on; rows of
            no trade mean nothing. Columns `EVENT_…`, float64; without rows where no trace is kept.
        event_marks: The same, whole numbers.
        fill_amounts: Fills in the same way, from `RESULT_FIRST_FILL` on; columns `FILL_…`.
        fill_candles: Candle of each fill.
    """

    def __init__(
        self, markets: PreparedMarkets, strategy: Strategy, report_call_ids: Collection[int] | None, *, trace: bool
    ) -> None:
        self.markets = markets
        self.strategy = strategy
        self.compiled = compile_strategy(strategy)
        n = len(markets.calls)
        self.is_reported: IntArray = np.ones(n, dtype=np.int64)
        if report_call_ids is not None:
            wanted = set(report_call_ids)
            self.is_reported[:] = [call.call_id in wanted for call in markets.calls]
        self.result_amounts: FloatArray = np.zeros((n, layout.RESULT_AMOUNTS), dtype=np.float64)
        self.result_marks: IntArray = np.zeros((n, layout.RESULT_MARKS), dtype=np.int64)
        self.event_amounts: FloatArray = np.empty((0, layout.EVENT_AMOUNTS), dtype=np.float64)
        self.event_marks: IntArray = np.empty((0, layout.EVENT_MARKS), dtype=np.int64)
        self.fill_amounts: FloatArray = np.empty((0, 2), dtype=np.float64)
        self.fill_candles: IntArray = np.empty(0, dtype=np.int64)
        self._trace = trace
        self._is_used = np.zeros(n, dtype=np.int64)
        self._is_alone = self.compiled.choices[Choice.OVERLAP] == OverlapKind.INDEPENDENT
        # The kernels read the truths by address, so they have to live as long as this.
        self._truths: list[Truths] = []
        self._saying: IntArray | None = None
        self._addresses = markets.addresses
        if conditions := strategy.score_conditions():
            self._bind(conditions)
        else:
            self._truths.append(self._evaluate(self.compiled.signals))
        self._signals = np.concatenate([truths.addresses for truths in self._truths])

    def _bind(self, conditions: Sequence[ScoreCondition]) -> None:
        """Evaluate the signals once for everything that conditions on scores say of any call."""
        self._saying, said = group_by_truths(conditions, self.markets.scores)
        for truths in said or [(None,) * len(conditions)]:
            self._truths.append(self._evaluate(compile_strategy(bind_scores(self.strategy, truths)).signals))
        self._addresses = np.tile(self.markets.addresses, (len(self._truths), 1))

    def _evaluate(self, signals: Sequence[SignalNode]) -> Truths:
        return self.markets.truths(
            signals,
            latency_seconds=int(self.compiled.choices[Choice.LATENCY_SECONDS]),
            horizon_seconds=int(self.compiled.choices[Choice.HORIZON_SECONDS]),
        )

    def run(self, threads: int = 1, helpers: Executor | None = None) -> None:
        """Simulate all calls.

        Args:
            threads: Over how many threads the calls are spread, this one included; changes no result.
            helpers: Where the other threads come from; needed for more than one.
        """
        pieces = self._pieces(threads)
        while pieces:
            self._give_rows(pieces)
            waiting: queue.SimpleQueue[Piece] = queue.SimpleQueue()
            for piece in pieces:
                waiting.put(piece)
            if helpers is None or len(pieces) == 1:
                self._take_from(waiting)
            else:
                others = [helpers.submit(self._take_from, waiting) for _ in range(min(threads, len(pieces)) - 1)]
                self._take_from(waiting)
                for other in others:
                    other.result()
            pieces = [piece for piece in pieces if not piece.is_done]

    def _pieces(self, threads: int) -> list[Piece]:
        """Return the calls in pieces; only independent calls of a token may be parted."""
        markets = self.markets
        n, ends = len(markets.calls), markets.call_ends
        count = 1 if threads == 1 else max(1, min(PIECES_PER_THREAD * threads, n // CALLS_PER_PIECE))
        cuts = np.linspace(0, n, count + 1).astype(np.int64)
        if not self._is_alone:
            cuts = ends[np.searchsorted(ends, cuts)]
        pieces = []
        for begin, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            if begin == end:
                continue
            tasks = self._tasks(begin, end)
            cursor = np.zeros(layout.CURSOR_SLOTS, dtype=np.int64)
            cursor[layout.CURSOR_CALL] = NONE
            pieces.append(Piece(tasks, cursor, ROWS_PER_CALL * (end - begin)))
        return pieces

    def _tasks(self, begin: int, end: int) -> IntArray:
        """Return calls as tasks: those of a token, and where scores are asked for, those of which they say the same."""
        markets = self.markets
        row = markets.token[begin:end]
        if self._saying is not None:
            row = row + self._saying[begin:end] * len(markets.keys)
            if not self._is_alone:
                return self._tasks_in_turn(row, begin)
        firsts = np.flatnonzero(np.diff(row, prepend=NONE))
        tasks = np.empty((len(firsts), 3), dtype=np.int64)
        tasks[:, layout.TASK_TOKEN] = row[firsts]
        tasks[:, layout.TASK_FIRST_CALL] = firsts + begin
        tasks[:, layout.TASK_END_CALL] = np.append(firsts[1:] + begin, end)
        return tasks

    def _tasks_in_turn(self, row: IntArray, begin: int) -> IntArray:
        """Return tasks of entry calls, and behind those of each token one of its scale-in calls.

        Args:
            row: Which row of the kernel's tables each call goes by.
            begin: Position of the first of these calls.
        """
        markets = self.markets
        is_entry = markets.kind[begin : begin + len(row)] == layout.CALL_ENTRY
        # Calls of other kinds part the entries: the kernel takes the scale-ins among a task's calls as not used yet.
        group = np.where(is_entry, row, NONE)
        edges = np.flatnonzero(np.diff(group, prepend=NONE, append=NONE)).tolist()
        tasks: list[tuple[int, int, int, int]] = []
        for first, after in pairwise(edges):
            if is_entry[first]:
                tasks.append((int(row[first]), begin + first, begin + after, layout.PHASE_ENTRIES))
        if self.compiled.choices[Choice.OVERLAP] == OverlapKind.SCALE_IN:
            for token in np.unique(markets.token[begin : begin + len(row)]).tolist():
                of_token = markets.call_ends[token : token + 2].tolist()
                tasks.append((token, *of_token, layout.PHASE_SCALE_INS))
        tasks.sort(key=lambda task: (int(markets.token[task[1]]), task[3], task[1]))
        return np.array(tasks, dtype=np.int64).reshape(-1, 4)

    def _give_rows(self, pieces: list[Piece]) -> None:
        """Give every piece rows of its own behind those there are; more than it had before."""
        begin = end = len(self.fill_candles)
        for piece in pieces:
            if piece.end > 0:
                piece.rows = 2 * piece.rows + int(piece.cursor[layout.CURSOR_WANTED])
            piece.cursor[layout.CURSOR_EVENTS] = piece.cursor[layout.CURSOR_FILLS] = end
            end += piece.rows
            piece.end = end
        self.fill_amounts = _extended(self.fill_amounts, end - begin)
        self.fill_candles = _extended(self.fill_candles, end - begin)
        if self._trace:
            self.event_amounts = _extended(self.event_amounts, end - begin)
            self.event_marks = _extended(self.event_marks, end - begin)

    def _take_from(self, waiting: "queue.SimpleQueue[Piece]") -> None:
        """Simulate pieces as long as there are any."""
        while True:
            try:
                piece = waiting.get_nowait()
            except queue.Empty:
                return
            self._simulate(piece)

    def _simulate(self, piece: Piece) -> None:
        """Simulate a piece until it is done, or its rows are used up."""
        if self._saying is None or self._is_alone:
            piece.is_done = self._simulate_tasks(piece, piece.tasks)
        else:
            piece.is_done = self._simulate_one_by_one(piece)

    def _simulate_one_by_one(self, piece: Piece) -> bool:
        """Simulate tasks whose calls depend on each other, also across tasks of one token; return whether all are done.

        The cursor is put inside each task, so that the kernel doesn't forget until when the token's calls are blocked.
        Scale-in calls that nobody used are told of once all entries of the token are through.
        """
        cursor, token_of = piece.cursor, self.markets.token
        while piece.tasks_done < len(piece.tasks):
            number = piece.tasks_done
            task = piece.tasks[number]
            # At its beginning; else it goes on where its rows were used up.
            if cursor[layout.CURSOR_CALL] == NONE:
                first = task[layout.TASK_FIRST_CALL]
                cursor[layout.CURSOR_TASK] = 0
                cursor[layout.CURSOR_CALL] = first
                cursor[layout.CURSOR_PHASE] = task[_TASK_PHASE]
                if number == 0 or token_of[first] != token_of[piece.tasks[number - 1, layout.TASK_FIRST_CALL]]:
                    cursor[layout.CURSOR_BLOCKED_UNTIL] = NONE
            if not self._simulate_tasks(piece, piece.tasks[number : number + 1]):
                return False
            piece.tasks_done += 1
        return True

    def _simulate_tasks(self, piece: Piece, tasks: IntArray) -> bool:
        """Take tasks up where the cursor stands; return whether they are done."""
        markets, compiled = self.markets, self.compiled
        return simulate_tasks_nb(
            self._addresses,
            markets.timestamp,
            markets.kind,
            markets.action,
            markets.first_action,
            markets.end_action,
            self.is_reported,
            self._is_used,
            compiled.choices,
            compiled.quantities,
            compiled.targets,
            compiled.legs,
            compiled.leg_signals,
            self._signals,
            tasks,
            piece.cursor,
            self.result_amounts,
            self.result_marks,
            self.event_amounts[: piece.end],
            self.event_marks[: piece.end],
            self.fill_amounts[: piece.end],
            self.fill_candles[: piece.end],
        )


def _extended(rows: npt.NDArray[_Number], by: int) -> npt.NDArray[_Number]:
    """Return the rows and room for more behind them."""
    more = np.empty((by, *rows.shape[1:]), dtype=rows.dtype)
    return more if len(rows) == 0 else np.concatenate([rows, more])
