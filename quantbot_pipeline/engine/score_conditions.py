"""Conditions on scores, bound to a call before anything is simulated.

What a model says of a call is the same at every candle of its trade, so for one call a condition on it is a constant:
it holds, it doesn't, or, for a call without a score, it is unknown. `bind_scores` writes that constant into the
strategy in the place of the condition; what simulates a bound strategy knows nothing of scores. Calls for which all
constants are the same share one bound strategy.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.strategy.model import Ladder, SignalEntry, Strategy
from quantbot_pipeline.strategy.signals import (
    AllOf,
    AnyOf,
    CandleOperand,
    Condition,
    Not,
    ScoreCondition,
    SignalNode,
)

Truths = tuple[bool | None, ...]
"""What each condition on a score says of a call, None where the score is unknown."""

_STATES: Truths = (False, True, None)

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
"""What operators do to two numbers, or to two arrays of them; a NaN meets `!=` alone."""

# Closes are finite numbers, so that a close above one of these is true, false or unknown at every candle.
_ALWAYS_BELOW: Mapping[bool | None, float] = {True: -math.inf, False: math.inf, None: math.nan}

_CLOSE = CandleOperand(candle="close")


def score_truths(conditions: Sequence[ScoreCondition], call: Call) -> Truths:
    """Return what conditions say of a call.

    Args:
        conditions: Of a strategy, as `Strategy.score_conditions` returns them.
        call: The call whose trade they decide; a score that is NaN is unknown.
    """
    return tuple(_truth(condition, call.scores) for condition in conditions)


def group_by_truths(
    conditions: Sequence[ScoreCondition], scores: Callable[[str], FloatArray]
) -> tuple[IntArray, list[Truths]]:
    """Return the group of each of many calls, and what conditions say of those of each group.

    Args:
        conditions: Of a strategy, at least one.
        scores: Returns what a model says of each call, NaN where it says nothing, shape (n,).

    Returns:
        Numbers of groups, shape (n,), and the truths by these numbers.
    """
    group: IntArray | None = None
    for condition in conditions:
        said = scores(condition.score)
        state = np.where(np.isnan(said), len(_STATES) - 1, COMPARISONS[condition.op](said, condition.right))
        # Numbered anew each time, so that any number of conditions fits.
        joined = state if group is None else group * len(_STATES) + state
        _, first, group = np.unique(joined, return_index=True, return_inverse=True)
    assert group is not None  # noqa: S101 - there is a condition
    truths = [
        tuple(
            _truth_of(condition.op, float(scores(condition.score)[call]), condition.right) for condition in conditions
        )
        for call in first.tolist()
    ]
    return group, truths


def bind_scores(strategy: Strategy, truths: Sequence[bool | None]) -> Strategy:
    """Return the strategy with a constant in the place of each condition on a score.

    Args:
        strategy: The strategy.
        truths: What each of its `score_conditions` says, in their order.
    """
    waiting = list(reversed(truths))
    update: dict[str, object] = {}
    entry = strategy.entry
    if isinstance(entry, SignalEntry):
        update["entry"] = entry.model_copy(update={"when": _bind(entry.when, waiting)})
    elif isinstance(entry, Ladder):
        legs = tuple(
            leg if leg.when is None else leg.model_copy(update={"when": _bind(leg.when, waiting)}) for leg in entry.legs
        )
        update["entry"] = entry.model_copy(update={"legs": legs})
    if strategy.exits.when is not None:
        update["exits"] = strategy.exits.model_copy(update={"when": _bind(strategy.exits.when, waiting)})
    return strategy.model_copy(update=update)


def unscored(condition: ScoreCondition) -> Condition:
    """Return what a condition on a score says where there is no call, and so no score: a condition that is unknown."""
    return _constant(condition, truth=None)


def _truth(condition: ScoreCondition, scores: Mapping[str, float]) -> bool | None:
    return _truth_of(condition.op, scores.get(condition.score, math.nan), condition.right)


def _truth_of(op: str, score: float, right: float) -> bool | None:
    return None if math.isnan(score) else bool(COMPARISONS[op](score, right))


def _bind(node: SignalNode, waiting: list[bool | None]) -> SignalNode:
    """Return a signal tree with constants; takes what it needs from the end of `waiting`."""
    if isinstance(node, ScoreCondition):
        return _constant(node, truth=waiting.pop())
    if isinstance(node, Not):
        return node.model_copy(update={"member": _bind(node.member, waiting)})
    if isinstance(node, AllOf | AnyOf):
        return node.model_copy(update={"members": tuple(_bind(member, waiting) for member in node.members)})
    return node


def _constant(condition: ScoreCondition, *, truth: bool | None) -> Condition:
    # Not validated: a document may hold finite numbers only.
    return Condition.model_construct(
        left=_CLOSE,
        op=">",
        right=_ALWAYS_BELOW[truth],
        lookback=condition.lookback,
        min_true=condition.min_true,
    )
