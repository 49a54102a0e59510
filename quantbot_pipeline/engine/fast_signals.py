"""Signals and indicators of the fast engine: evaluated on many tokens at once, kept and shared by strategies.

**Reach.** Only closes that a call can see are evaluated: from the one before the first candle of a token's
earliest call to the last before the horizon candle of any of its calls. Trades read signals and events read
indicators nowhere else. A range begins earlier where something looks back: shifts, crossings, persistence,
windows, all of which count candles exactly; averages that are recursive run from candle 0 on. What lies after the
range isn't touched: a value never depends on a later candle.

There is one reach for all strategies of a market. It grows when one asks for more, at least to twice the horizon that
was asked for; what was kept before is then dropped. So a search over horizons computes anew a few times, not for each.

**Batches.** Neighbouring tokens are taken together, in one call of a kernel, up to `BATCH_CANDLES`.

**Memory.** What was computed is kept by its meaning (indicator and parameters; the signal tree) up to a budget of
bytes; above it the least recently used go. A strategy that still runs holds its own signals, whatever is dropped.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.engine.fast_indicators import compute_on_markets
from quantbot_pipeline.engine.kernels import market as market_kernels
from quantbot_pipeline.engine.kernels import signals as kernels
from quantbot_pipeline.engine.score_conditions import unscored
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS
from quantbot_pipeline.strategy.signals import (
    AllOf,
    CandleOperand,
    Condition,
    IndicatorOperand,
    Not,
    ScoreCondition,
    SignalNode,
)

BATCH_CANDLES = 2**20
"""Candles of the tokens that are evaluated in one go; a token with more is a batch by itself."""

ByteArray = npt.NDArray[np.uint8]

_GREATER, _LESS, _EQUAL = kernels.GREATER, kernels.LESS, kernels.EQUAL

_ORDERS: Mapping[str, tuple[int, int]] = {
    ">": (_GREATER, 0),
    ">=": (_GREATER | _EQUAL, 0),
    "<": (_LESS, 0),
    "<=": (_LESS | _EQUAL, 0),
    "==": (_EQUAL, 0),
    "!=": (_GREATER | _LESS, 0),
    "crosses_above": (_GREATER, _LESS | _EQUAL),
    "crosses_below": (_LESS, _GREATER | _EQUAL),
}
"""Orders in which an operator holds, and those that it wants one candle earlier (0: any)."""

_CANDLE_COLUMNS: Mapping[str, int] = {
    "open": market_kernels.OPEN,
    "high": market_kernels.HIGH,
    "low": market_kernels.LOW,
    "close": market_kernels.CLOSE,
    "volume": market_kernels.VOLUME,
}

_NO_ADDRESSES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Truths:
    """Truth of signals at the closes within reach, one byte per candle.

    Attributes:
        addresses: Where the truth at candle 0 of each token lies or would lie, int64, shape (n_tokens, n_signals).
            Only closes within reach may be read.
        kept_alive: What the addresses point into.
    """

    addresses: IntArray
    kept_alive: tuple[ByteArray, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Ranges of candles of a batch's tokens, one after the other.

    Attributes:
        begins: First candle of each token's range, shape (n_tokens,).
        ends: End of the range.
        offsets: Where each range lies, and where the last one ends, shape (n_tokens + 1,).
    """

    begins: IntArray
    ends: IntArray
    offsets: IntArray

    @property
    def size(self) -> int:
        return int(self.offsets[-1])

    def addresses(self, values: npt.NDArray[Any]) -> IntArray:
        """Return where candle 0 of each token lies or would lie, of values in this layout."""
        first: IntArray = values.ctypes.data + values.itemsize * (self.offsets[:-1] - self.begins)
        return first


class _Cache:
    """Arrays by their meaning, up to a number of bytes; the least recently used go first."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._arrays: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()

    def get(self, key: Hashable) -> npt.NDArray[Any] | None:
        found = self._arrays.get(key)
        if found is not None:
            self._arrays.move_to_end(key)
        return found

    def put(self, key: Hashable, values: npt.NDArray[Any]) -> None:
        self._arrays[key] = values
        self.used_bytes += values.nbytes
        while self.used_bytes > self.budget_bytes:
            _, dropped = self._arrays.popitem(last=False)
            self.used_bytes -= dropped.nbytes

    def clear(self) -> None:
        self._arrays.clear()
        self.used_bytes = 0


class SignalTable:
    """Evaluates signals and indicators on the candles within reach of the calls of many tokens.

    May be used by several threads; they wait for each other.
    """

    def __init__(
        self, markets: IntArray, token: IntArray, timestamp: IntArray, is_entry: IntArray, budget_bytes: int
    ) -> None:
        """Take the candles and the calls that may make a trade.

        Args:
            markets: Addresses, length and interval of each token's candles, shape (n_tokens, MARKET_COLUMNS);
                whoever made them keeps the candles alive.
            token: Of each call, shape (n_calls,).
            timestamp: Of each call, seconds.
            is_entry: 0 for calls that are over at their own open.
            budget_bytes: Of what is kept for other strategies.
        """
        self._markets = markets
        self._calls = (token, timestamp, is_entry)
        self._lock = threading.RLock()
        self._cache = _Cache(budget_bytes)
        self._layouts: dict[tuple[int, int], _Layout] = {}
        self._reaches: set[tuple[int, int]] = set()
        self._begins = np.zeros(len(markets), dtype=np.int64)
        self._ends = np.zeros(len(markets), dtype=np.int64)
        lengths = markets[:, market_kernels.LENGTH].tolist()
        self._batches: list[slice] = []
        begin = candles = 0
        for position, length in enumerate(lengths):
            if position > begin and candles + length > BATCH_CANDLES:
                self._batches.append(slice(begin, position))
                begin, candles = position, 0
            candles += length
        if lengths:
            self._batches.append(slice(begin, len(lengths)))

    @classmethod
    def of_all_candles(cls, markets: IntArray, budget_bytes: int) -> "SignalTable":
        """Return the signals of one token at all of its candles, as if a call saw them all.

        Args:
            markets: Addresses, length and interval of the token's candles, shape (1, MARKET_COLUMNS).
            budget_bytes: Of what is kept.
        """
        nothing = np.empty(0, dtype=np.int64)
        table = cls(markets, nothing, nothing, nothing, budget_bytes)
        table._ends = markets[:, market_kernels.LENGTH].copy()
        return table

    def indicator(self, operand: IndicatorOperand) -> FloatArray:
        """Return an indicator operand, its shift left aside, at all closes within the reach of the first token."""
        with self._lock:
            row = self._indicator(0, operand, _indicator_key(operand), 0)
            return row[: self._layout(0, 0).offsets[1]]

    def truth(self, signal: SignalNode) -> ByteArray:
        """Return whether a signal holds at all closes within the reach of the first token, as bytes of 0 and 1."""
        with self._lock:
            return self._truth(0, signal, _key_of(signal))[: self._layout(0, 0).offsets[1]]

    def truths(self, signals: Sequence[SignalNode], *, latency_seconds: int, horizon_seconds: int) -> Truths:
        """Return the truth of signals at every close that a trade of the given horizon reads.

        Args:
            signals: Signal trees.
            latency_seconds: Of the strategy, seconds from a call to its first candle.
            horizon_seconds: Of the strategy, seconds from the first candle to the horizon candle.
        """
        addresses = np.zeros((len(self._markets), len(signals)), dtype=np.int64)
        kept: list[ByteArray] = []
        if signals:
            with self._lock:
                self._reach(latency_seconds, horizon_seconds)
                for slot, signal in enumerate(signals):
                    key = _key_of(signal)
                    for batch, tokens in enumerate(self._batches):
                        truth = self._truth(batch, signal, key)
                        addresses[tokens, slot] = self._layout(batch, 0).addresses(truth)
                        kept.append(truth)
        return Truths(addresses, tuple(kept))

    def indicator_values(self, operand: IndicatorOperand, token: IntArray, close: IntArray) -> FloatArray:
        """Return an indicator operand, its shift left aside, at closes of many tokens.

        Args:
            operand: Of a strategy whose signals were asked for before.
            token: Position of each value's token, ascending, shape (n,).
            close: Its candle, shape (n,); within reach, or negative where none was closed.

        Returns:
            Shape (n,); NaN where no candle was closed.

        Raises:
            SimulationError: a close is out of reach.
        """
        values = np.full(len(token), np.nan)
        key = _indicator_key(operand)
        ends = np.searchsorted(token, [tokens.stop for tokens in self._batches]).tolist()
        begin = 0
        with self._lock:
            for batch, (tokens, end) in enumerate(zip(self._batches, ends, strict=True)):
                if begin < end:
                    span = slice(begin, end)
                    values[span] = self._values_at(batch, operand, key, token[span] - tokens.start, close[span])
                begin = end
        return values

    def _values_at(
        self, batch: int, operand: IndicatorOperand, key: Hashable, token: IntArray, close: IntArray
    ) -> FloatArray:
        layout = self._layout(batch, 0)
        known = close >= 0
        token, close = token[known], close[known]
        beyond = (close < layout.begins[token]) | (close >= layout.ends[token])
        if beyond.any():
            raise SimulationError(
                f"candle {int(close[beyond][0])} is out of the reach of all calls that were asked for; "
                "ask for the signals of a strategy (truths) before its indicators"
            )
        values = np.full(len(known), np.nan)
        if len(token):
            row = self._indicator(batch, operand, key, 0)
            values[known] = row[layout.offsets[token] - layout.begins[token] + close]
        return values

    def _reach(self, latency_seconds: int, horizon_seconds: int) -> None:
        """Let the reach hold what calls see with a latency and a horizon."""
        if (latency_seconds, horizon_seconds) in self._reaches:
            return
        begins, ends = self._find_reach(latency_seconds, horizon_seconds)
        if self._is_beyond(begins, ends):
            if self._reaches:
                begins, ends = self._find_reach(latency_seconds, 2 * horizon_seconds)
            # Tokens that had no call with candles have no range to join.
            fresh = self._ends == 0
            unseen = ends == 0
            self._begins = np.where(fresh, begins, np.where(unseen, self._begins, np.minimum(self._begins, begins)))
            self._ends = np.maximum(self._ends, ends)
            self._cache.clear()
            self._layouts.clear()
        self._reaches.add((latency_seconds, horizon_seconds))

    def _is_beyond(self, begins: IntArray, ends: IntArray) -> bool:
        return bool(((ends > 0) & ((begins < self._begins) | (ends > self._ends))).any())

    def _find_reach(self, latency_seconds: int, horizon_seconds: int) -> tuple[IntArray, IntArray]:
        begins, ends = np.empty_like(self._begins), np.empty_like(self._ends)
        kernels.find_reach_nb(self._markets, *self._calls, latency_seconds, horizon_seconds, begins, ends)
        return begins, ends

    def _layout(self, batch: int, before: int) -> _Layout:
        """Return the ranges of a batch's tokens that begin `before` candles before the reach."""
        found = self._layouts.get((batch, before))
        if found is None:
            tokens = self._batches[batch]
            ends = self._ends[tokens]
            begins = np.maximum(self._begins[tokens] - before, 0)
            offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(ends - begins)])
            found = self._layouts[batch, before] = _Layout(begins, ends, offsets)
        return found

    def _indicator(self, batch: int, operand: IndicatorOperand, key: Hashable, before: int) -> FloatArray:
        """Return the values of an indicator operand in the layout of `before`."""
        wanted = (batch, before, key)
        outputs = self._cache.get(wanted)
        if outputs is None:
            layout = self._layout(batch, before)
            markets = self._markets[self._batches[batch]]
            outputs = compute_on_markets(
                markets, operand.indicator, operand.params, layout.begins, layout.ends, layout.offsets
            )
            self._cache.put(wanted, outputs)
        row: FloatArray = outputs[INDICATORS[operand.indicator].fields.index(operand.field or "")]
        return row

    def _operand(
        self, batch: int, operand: IndicatorOperand | CandleOperand, before: int
    ) -> tuple[IntArray, FloatArray | None]:
        """Return where an operand's value at candle 0 of each token lies or would lie, and what keeps it alive."""
        if isinstance(operand, CandleOperand):
            return self._markets[self._batches[batch], _CANDLE_COLUMNS[operand.candle]].copy(), None
        row = self._indicator(batch, operand, _indicator_key(operand), before)
        return self._layout(batch, before).addresses(row), row

    def _truth(self, batch: int, signal: SignalNode, key: Hashable) -> ByteArray:
        wanted = (batch, "truth", key)
        truth = self._cache.get(wanted)
        if truth is None:
            truth = self._states(batch, signal, key, 0) & np.uint8(kernels.HOLDS)
            self._cache.put(wanted, truth)
        return truth

    def _states(self, batch: int, node: SignalNode, key: Hashable, before: int) -> ByteArray:
        """Return what a node says at each close, in the layout of `before`."""
        wanted = (batch, before, key)
        states = self._cache.get(wanted)
        if states is not None:
            return states
        earlier = before + node.lookback - 1
        if isinstance(node, ScoreCondition):
            # Whoever simulates a call binds its scores before; here there is none.
            node = unscored(node)
        if isinstance(node, Condition):
            states = self._compare(batch, node, earlier)
        elif isinstance(node, Not):
            inside = self._states(batch, node.member, _key_of(node.member), earlier)
            states = (inside == 0).view(np.uint8) | (inside & np.uint8(kernels.HAS_NAN))
        else:
            states = self._combine(batch, node.members, earlier, are_all=isinstance(node, AllOf))
        if node.lookback > 1:
            inside, states = states, np.empty(self._layout(batch, before).size, dtype=np.uint8)
            layout = self._layout(batch, before)
            kernels.persist_nb(
                inside,
                self._layout(batch, earlier).offsets,
                node.lookback,
                node.min_true,
                layout.begins,
                layout.ends,
                layout.offsets,
                states,
            )
        self._cache.put(wanted, states)
        return states

    def _combine(self, batch: int, members: Sequence[SignalNode], before: int, *, are_all: bool) -> ByteArray:
        """Return the states of a group: a NaN in any member is a NaN of the group."""
        both = any_of = self._states(batch, members[0], _key_of(members[0]), before)
        for member in members[1:]:
            states = self._states(batch, member, _key_of(member), before)
            any_of = any_of | states
            both = both & states if are_all else both
        if not are_all:
            return any_of
        return (both & np.uint8(kernels.HOLDS)) | (any_of & np.uint8(kernels.HAS_NAN))

    def _compare(self, batch: int, condition: Condition, before: int) -> ByteArray:
        wanted, wanted_before = _ORDERS[condition.op]
        one_earlier = before + (1 if wanted_before else 0)
        left, kept_left = self._operand(batch, condition.left, one_earlier + condition.left.shift)
        right, kept_right, right_shift, number = _NO_ADDRESSES, None, 0, 0.0
        if isinstance(condition.right, float | int):
            number = float(condition.right)
        else:
            right_shift = condition.right.shift
            right, kept_right = self._operand(batch, condition.right, one_earlier + right_shift)
        layout = self._layout(batch, before)
        states = np.empty(layout.size, dtype=np.uint8)
        kernels.compare_nb(
            left,
            condition.left.shift,
            right,
            right_shift,
            number,
            wanted,
            wanted_before,
            layout.begins,
            layout.ends,
            layout.offsets,
            states,
        )
        # Named to here, so that the cache may drop the operands while the kernel reads them.
        del kept_left, kept_right
        return states


def _indicator_key(operand: IndicatorOperand) -> Hashable:
    return (operand.indicator, *sorted(operand.params.items()))


def _operand_key(operand: IndicatorOperand | CandleOperand | float) -> Hashable:
    if isinstance(operand, IndicatorOperand):
        return (_indicator_key(operand), operand.field, operand.shift)
    return (operand.candle, operand.shift) if isinstance(operand, CandleOperand) else operand


def _key_of(node: SignalNode) -> Hashable:
    """Return what two nodes share that say the same; numbers that are equal are the same."""
    if isinstance(node, ScoreCondition):
        node = unscored(node)
    persistence = (node.lookback, node.min_true)
    if isinstance(node, Condition):
        return (node.op, _operand_key(node.left), _operand_key(node.right), persistence)
    if isinstance(node, Not):
        return ("not", _key_of(node.member), persistence)
    return ("all" if isinstance(node, AllOf) else "any", *(_key_of(member) for member in node.members), persistence)
