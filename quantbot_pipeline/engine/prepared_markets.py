"""Candles and calls of many tokens, as the kernels of the fast engine read them.

`PreparedMarkets` holds them together with the indicators that were computed on them; strategies share it.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.engine.conditions import SignalEvaluator
from quantbot_pipeline.engine.kernels import market as market_kernels
from quantbot_pipeline.engine.kernels import trades as kernels
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.signals import IndicatorOperand, SignalNode

INDICATOR_CACHE_BYTES = 512 * 2**20
"""Indicators kept for other strategies; above this all are dropped and computed again when asked for."""

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

    Not to be used by two threads at once, except through the functions of `quantbot_pipeline.engine.fast`.
    """

    def __init__(self, candles: Mapping[Any, Candles], calls: Mapping[Any, Sequence[Call]]) -> None:
        """Take the candles (without copying them) and the calls.

        Args:
            candles: By token, or by any key that names one set of candles; valid, each as for
                `simulate_reference`.
            calls: By the same keys; a key without calls may be left out.

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
        self.candles = [_contiguous(candles[key]) for key in self.keys]
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
        self.addresses = np.array([_addresses(of_token) for of_token in self.candles], dtype=np.int64).reshape(
            -1, market_kernels.MARKET_COLUMNS
        )
        self._evaluators: dict[int, _CountingEvaluator] = {}

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

    def indicator(self, token: int, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator operand on a token, its shift left aside, shape (n_candles,)."""
        return self._evaluator(token).indicator(operand)

    def truth(self, token: int, signal: SignalNode) -> Any:
        """Return whether a signal holds at each close of a token, as bytes of 0 and 1, shape (n_candles,)."""
        return np.ascontiguousarray(self._evaluator(token).evaluate(signal)).view(np.uint8)

    def _evaluator(self, token: int) -> "_CountingEvaluator":
        if sum(evaluator.cached_bytes for evaluator in self._evaluators.values()) > INDICATOR_CACHE_BYTES:
            self._evaluators.clear()
        return self._evaluators.setdefault(token, _CountingEvaluator(self.candles[token]))


class _CountingEvaluator(SignalEvaluator):
    """A signal evaluator that knows how much its indicators take."""

    @property
    def cached_bytes(self) -> int:
        """Bytes of the indicators that were computed so far."""
        return sum(values.nbytes for outputs in self._indicators.values() for values in outputs.values())


def _contiguous(candles: Candles) -> Candles:
    """Return candles whose arrays lie in one piece and have the kernels' types."""
    return Candles(
        candles.interval_seconds,
        np.ascontiguousarray(candles.timestamp, dtype=np.int64),
        *(
            np.ascontiguousarray(values, dtype=np.float64)
            for values in (candles.open, candles.high, candles.low, candles.close, candles.volume)
        ),
    )


def _addresses(candles: Candles) -> list[int]:
    """Return the row of `simulate_tasks_nb`'s markets of one token."""
    arrays = (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return [*(values.ctypes.data for values in arrays), len(candles), candles.interval_seconds]
