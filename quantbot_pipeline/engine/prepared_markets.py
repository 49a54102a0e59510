"""Candles and calls of many tokens, as the kernels of the fast engine read them.

`PreparedMarkets` holds them together with the indicators that were computed on them; strategies share it.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.fast_indicators import addresses_of, contiguous
from quantbot_pipeline.engine.fast_signals import ByteArray, SignalTable, Truths
from quantbot_pipeline.engine.kernels import layout as kernels
from quantbot_pipeline.engine.kernels import market as market_kernels
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.signals import IndicatorOperand, SignalNode

SIGNAL_CACHE_BYTES = 512 * 2**20
"""Indicators and truths of signals that are kept for other strategies."""

_CALL_KINDS: Mapping[tuple[SignalType, Side], int] = {
    (signal_type, side): (
        kernels.CALL_SCALE_OUT
        if signal_type is SignalType.SCALE_OUT
        else kernels.CALL_EXIT
        if signal_type is SignalType.EXIT or side is Side.SELL
        else kernels.CALL_SCALE_IN
        if signal_type is SignalType.SCALE_IN
        else kernels.CALL_ENTRY
    )
    for signal_type in SignalType
    for side in Side
}


class PreparedMarkets:
    """Candles and calls of many tokens, in the form that the kernels read.

    May be used by several threads; signals are evaluated by one at a time.
    """

    def __init__(
        self,
        candles: Mapping[Any, Candles],
        calls: Mapping[Any, Sequence[Call]],
        *,
        cache_bytes: int = SIGNAL_CACHE_BYTES,
    ) -> None:
        """Take the candles (without copying them) and the calls.

        Args:
            candles: By token, or by any key that names one set of candles; valid, each as for
                `simulate_reference`.
            calls: By the same keys; a key without calls may be left out.
            cache_bytes: How much of indicators and truths is kept for other strategies.

        Raises:
            SimulationError: a key has calls and no candles, or an id twice among its calls.
        """
        unknown = [key for key in calls if key not in candles and calls[key]]
        if unknown:
            raise SimulationError(
                f"calls on {unknown[0]!r} have no candles; found candles of {len(candles)} keys; "
                "pass candles of every key that has calls, also where there are none (Candles.empty)"
            )
        self.keys: list[Hashable] = [key for key in candles if calls.get(key)]
        self.candles = [contiguous(candles[key]) for key in self.keys]
        self.calls: list[Call] = []
        self.call_ends = np.zeros(len(self.keys) + 1, dtype=np.int64)
        for token, key in enumerate(self.keys):
            ordered = sorted(calls[key], key=lambda call: (call.signal_timestamp, call.call_id))
            if len({call.call_id for call in ordered}) < len(ordered):
                raise SimulationError("calls of one simulation have unique ids; found an id twice among those given")
            self.calls += ordered
            self.call_ends[token + 1] = len(self.calls)
        self.token = np.repeat(np.arange(len(self.keys)), np.diff(self.call_ends))
        self.timestamp = np.array([call.signal_timestamp for call in self.calls], dtype=np.int64)
        self.kind = np.array([_CALL_KINDS[call.signal_type, call.side] for call in self.calls], dtype=np.int64)
        self._index_actions()
        self.addresses = np.array([addresses_of(of_token) for of_token in self.candles], dtype=np.int64).reshape(
            -1, market_kernels.MARKET_COLUMNS
        )
        # Exit calls act on trades of others, within their reach.
        trading = (self.kind == kernels.CALL_ENTRY) | (self.kind == kernels.CALL_SCALE_IN)
        self._signals = SignalTable(
            self.addresses,
            self.token[trading],
            self.timestamp[trading],
            (self.kind[trading] == kernels.CALL_ENTRY).astype(np.int64),
            cache_bytes,
        )
        self._scores: dict[str, FloatArray] = {}
        self._cache_bytes = cache_bytes
        self._whole: dict[int, SignalTable] = {}

    def _index_actions(self) -> None:
        """List the calls that act on trades by token and caller, and give every call the range of its caller."""
        n = len(self.calls)
        self.first_action = np.zeros(n, dtype=np.int64)
        self.end_action = np.zeros(n, dtype=np.int64)
        acting = np.flatnonzero(self.kind != kernels.CALL_ENTRY)
        if len(acting) == 0:
            self.action = acting
            return
        caller = np.array([call.caller_id for call in self.calls], dtype=np.int64)
        # Stable: within token and caller the order stays that of (signal_timestamp, call_id).
        order = np.lexsort((caller[acting], self.token[acting]))
        self.action = np.ascontiguousarray(acting[order])
        owners = list(zip(self.token[self.action].tolist(), caller[self.action].tolist(), strict=True))
        ranges: dict[tuple[int, int], tuple[int, int]] = {}
        for position, owner in enumerate(owners):
            ranges[owner] = (ranges.get(owner, (position, 0))[0], position + 1)
        for position, owner in enumerate(zip(self.token.tolist(), caller.tolist(), strict=True)):
            self.first_action[position], self.end_action[position] = ranges.get(owner, (0, 0))

    def truths(self, signals: Sequence[SignalNode], *, latency_seconds: int, horizon_seconds: int) -> Truths:
        """Return the truth of a strategy's signals at every close that its trades can read.

        Args:
            signals: Signal trees.
            latency_seconds: Of the strategy.
            horizon_seconds: Of the strategy.
        """
        return self._signals.truths(signals, latency_seconds=latency_seconds, horizon_seconds=horizon_seconds)

    def scores(self, name: str) -> FloatArray:
        """Return what a model says of each call, NaN where it says nothing, shape (n_calls,)."""
        found = self._scores.get(name)
        if found is None:
            said = [call.scores.get(name, math.nan) for call in self.calls]
            found = self._scores[name] = np.array(said, dtype=np.float64)
        return found

    def indicator_values(self, operand: IndicatorOperand, token: IntArray, close: IntArray) -> FloatArray:
        """Return an indicator operand, its shift left aside, at the closes that events of a strategy knew.

        Args:
            operand: Of a strategy whose `truths` were asked for before.
            token: Position of each event's token, ascending, shape (n,).
            close: Last candle that was closed, shape (n,); negative where there was none.

        Returns:
            Shape (n,); NaN where no candle was closed.

        Raises:
            SimulationError: no call can see a close.
        """
        return self._signals.indicator_values(operand, token, close)

    def indicator(self, token: int, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator operand on all candles of a token, its shift left aside."""
        return self._of_all_candles(token).indicator(operand)

    def truth(self, token: int, signal: SignalNode) -> ByteArray:
        """Return whether a signal holds at each close of all candles of a token, as bytes of 0 and 1."""
        return self._of_all_candles(token).truth(signal)

    def _of_all_candles(self, token: int) -> SignalTable:
        """Return the signals of one token, whatever its calls can see."""
        if token not in self._whole:
            self._whole[token] = SignalTable.of_all_candles(self.addresses[token : token + 1], self._cache_bytes)
        return self._whole[token]
