"""Evaluate a strategy's signal tree on candles: one truth value per closed candle.

Beside its truth, every node carries whether a NaN was inside (a value in warm-up, or not defined): a
condition with a NaN is false, and so is a `not` around anything with a NaN inside.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.engine.candles import BoolArray, Candles, FloatArray
from quantbot_pipeline.engine.indicators import compute_indicator, indicator_warm_up, shift
from quantbot_pipeline.engine.score_conditions import COMPARISONS, unscored
from quantbot_pipeline.strategy.signals import (
    AllOf,
    CandleOperand,
    Condition,
    IndicatorOperand,
    Not,
    ScoreCondition,
    SignalNode,
)


@dataclass(frozen=True, slots=True)
class _Truth:
    """Truth of a node at each candle, and where a NaN was inside (there the node may not be negated)."""

    holds: BoolArray
    has_nan: BoolArray


class SignalEvaluator:
    """Evaluates signal trees on the candles of one token; computes each indicator once."""

    def __init__(self, candles: Candles) -> None:
        self._candles = candles
        self._indicators: dict[tuple[str, tuple[tuple[str, float], ...]], dict[str, FloatArray]] = {}

    def evaluate(self, node: SignalNode) -> BoolArray:
        """Return whether `node` holds at the close of each candle, shape (n,)."""
        return self._truth(node).holds

    def indicator(self, operand: IndicatorOperand) -> FloatArray:
        """Return the values of an indicator operand, its shift left aside, shape (n,)."""
        key = (operand.indicator, tuple(sorted(operand.params.items())))
        if key not in self._indicators:
            self._indicators[key] = compute_indicator(self._candles, operand.indicator, operand.params)
        return self._indicators[key][operand.field or ""]

    def _operand(self, operand: IndicatorOperand | CandleOperand | float) -> FloatArray:
        if isinstance(operand, IndicatorOperand):
            return shift(self.indicator(operand), operand.shift)
        if isinstance(operand, CandleOperand):
            values: FloatArray = getattr(self._candles, operand.candle)
            return shift(values, operand.shift)
        return np.full(len(self._candles), operand)

    def _truth(self, node: SignalNode) -> _Truth:
        if isinstance(node, ScoreCondition):
            # Whoever simulates a call binds its scores before; here there is none.
            node = unscored(node)
        if isinstance(node, Condition):
            truth = self._compare(node)
        elif isinstance(node, Not):
            inside = self._truth(node.member)
            truth = _Truth(~inside.holds & ~inside.has_nan, inside.has_nan)
        else:
            members = [self._truth(member) for member in node.members]
            combine = np.logical_and if isinstance(node, AllOf) else np.logical_or
            truth = _Truth(
                combine.reduce([member.holds for member in members]),
                np.logical_or.reduce([member.has_nan for member in members]),
            )
        return _persist(truth, node.lookback, node.min_true)

    def _compare(self, condition: Condition) -> _Truth:
        left = self._operand(condition.left)
        right = self._operand(condition.right)
        has_nan = np.isnan(left) | np.isnan(right)
        if condition.op in COMPARISONS:
            return _Truth(COMPARISONS[condition.op](left, right) & ~has_nan, has_nan)
        left_before, right_before = shift(left, 1), shift(right, 1)
        has_nan = has_nan | np.isnan(left_before) | np.isnan(right_before)
        if condition.op == "crosses_above":
            holds = (left_before <= right_before) & (left > right)
        else:
            holds = (left_before >= right_before) & (left < right)
        return _Truth(holds & ~has_nan, has_nan)


def _persist(truth: _Truth, lookback: int, min_true: int) -> _Truth:
    """Return where the node was true on at least `min_true` of the last `lookback` closed candles.

    Candles before the first count as not true, and as NaN for a `not` around.
    """
    if lookback == 1:
        return truth
    n = len(truth.holds)
    at_least = _count_last(truth.holds, lookback) >= min_true
    too_early = np.arange(n) < lookback - 1
    return _Truth(at_least, (_count_last(truth.has_nan, lookback) > 0) | too_early)


def _count_last(flags: BoolArray, lookback: int) -> npt.NDArray[np.int64]:
    counted = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(flags, dtype=np.int64)])
    ends = np.arange(1, len(flags) + 1)
    last: npt.NDArray[np.int64] = counted[ends] - counted[np.maximum(ends - lookback, 0)]
    return last


def evaluate(node: SignalNode, candles: Candles) -> BoolArray:
    """Return whether a signal tree holds at the close of each candle, shape (n,)."""
    return SignalEvaluator(candles).evaluate(node)


def signal_warm_up(node: SignalNode) -> int:
    """Return how many candles before a candle the truth of `node` there depends on."""
    inside = (
        0
        if isinstance(node, ScoreCondition)
        else max(_operand_warm_up(node.left), _operand_warm_up(node.right)) + node.op.startswith("crosses")
        if isinstance(node, Condition)
        else signal_warm_up(node.member)
        if isinstance(node, Not)
        else max(signal_warm_up(member) for member in node.members)
    )
    return inside + node.lookback - 1


def _operand_warm_up(operand: IndicatorOperand | CandleOperand | float) -> int:
    if isinstance(operand, IndicatorOperand):
        return indicator_warm_up(operand.indicator, operand.params) + operand.shift
    return operand.shift if isinstance(operand, CandleOperand) else 0
