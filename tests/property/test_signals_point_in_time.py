"""No indicator and no signal knows what comes after its candle, whatever its parameters and wherever it is computed.

Values are compared bit by bit, by both ways on which they are computed: that of the reference engine, and that of the
fast engine (`PreparedMarkets`).
"""

from collections.abc import Callable
from itertools import product
from random import Random

import numpy as np
import pytest
from causality import Values, assert_values_are_causal
from hypothesis import given, settings
from strategy_space import any_market, indicator_operand, seeds, signal_of_kind

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.conditions import SignalEvaluator, evaluate
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.strategy.indicator_catalogue import INDICATORS, SINGLE_FIELD
from quantbot_pipeline.strategy.model import SignalEntry, parse_strategy
from quantbot_pipeline.strategy.signals import Condition, IndicatorOperand, SignalNode

pytestmark = pytest.mark.timeout(900)

some = settings(max_examples=12, deadline=None, derandomize=True)

OUTPUTS = [(name, field) for name, specification in INDICATORS.items() for field in specification.fields]
NODE_KINDS = ("condition", "all", "any", "not")


def prepared(candles: Candles) -> PreparedMarkets:
    """Return the candles as the fast engine holds them, with a call before the first and after the last of them."""
    first, last = int(candles.timestamp[0]), int(candles.timestamp[-1])
    return PreparedMarkets({"token": candles}, {"token": [Call(1, 1, first - 1), Call(2, 1, last)]})


def node_of(document: dict[str, object]) -> SignalNode:
    entry = parse_strategy({"name": "case", "entry": {"type": "signal", "when": document}}).entry
    assert isinstance(entry, SignalEntry)
    return entry.when


def both_ways_of_indicator(operand: IndicatorOperand) -> tuple[Values, Values]:
    return (
        lambda candles: SignalEvaluator(candles).indicator(operand),
        lambda candles: prepared(candles).indicator(0, operand),
    )


def both_ways_of_signal(node: SignalNode) -> tuple[Values, Values]:
    def is_true(candles: Candles) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return prepared(candles).truth(0, node).astype(bool)

    return lambda candles: evaluate(node, candles), is_true


def check(random: Random, ways: tuple[Values, ...]) -> None:
    """Check each way on one market, and that all ways agree bit by bit."""
    market = any_market(random, candles=random.choice([1, 10, 80, 150]))
    seed = random.getrandbits(32)
    for way in ways:
        assert_values_are_causal(way, market, Random(seed))  # noqa: S311 - cases, not secrets
    assert len({way(market).tobytes() for way in ways}) == 1


def draw_operand(random: Random, name: str, field: str) -> IndicatorOperand:
    drawn = indicator_operand(random, name, None if field == SINGLE_FIELD else field)
    return IndicatorOperand.model_validate(drawn)


@pytest.mark.parametrize(("name", "field"), OUTPUTS, ids=[f"{name}-{field}" for name, field in OUTPUTS])
@some
@given(seeds())
def test_no_indicator_output_changes_with_the_future(name: str, field: str, random: Random) -> None:
    check(random, both_ways_of_indicator(draw_operand(random, name, field)))


@pytest.mark.parametrize(("name", "field"), OUTPUTS, ids=[f"{name}-{field}" for name, field in OUTPUTS])
@some
@given(seeds())
def test_no_shifted_or_crossing_condition_on_an_output_changes_with_the_future(
    name: str, field: str, random: Random
) -> None:
    left = draw_operand(random, name, field).model_copy(update={"shift": random.randint(0, 5)})
    right = left.model_copy(update={"shift": random.randint(0, 5)})
    operator = random.choice([">", "<=", "!=", "crosses_above", "crosses_below"])
    check(random, both_ways_of_signal(Condition(left=left, op=operator, right=right)))


@pytest.mark.parametrize(
    ("kind", "persists"), list(product(NODE_KINDS, (False, True))), ids=lambda value: str(value).lower()
)
@settings(some, max_examples=40)
@given(seeds())
def test_no_node_of_a_signal_tree_changes_with_the_future(kind: str, persists: bool, random: Random) -> None:
    document = signal_of_kind(random, kind, depth=random.randint(1, 3))
    for key in ("lookback", "min_true"):
        document.pop(key, None)
    if persists:
        document["lookback"] = random.randint(2, 8)
        document["min_true"] = random.randint(1, document["lookback"])
    check(random, both_ways_of_signal(node_of(document)))


def test_random_operands_reach_every_indicator_and_both_values_of_every_node_kind() -> None:
    """What is never drawn, or always unknown or the same, would pass the tests above unseen."""
    random = Random(7)  # noqa: S311 - cases, not secrets
    market = any_market(random, candles=150)
    for name, field in OUTPUTS:
        values = SignalEvaluator(market).indicator(draw_operand(random, name, field))
        assert np.isfinite(values).any(), name
    for kind in NODE_KINDS:
        truths = [evaluate(node_of(signal_of_kind(random, kind)), market) for _ in range(30)]
        assert np.concatenate(truths).any(), kind
        assert not np.concatenate(truths).all(), kind


Leak = Callable[[np.ndarray[tuple[int], np.dtype[np.float64]]], np.ndarray[tuple[int], np.dtype[np.float64]]]


def _centred_mean(close: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    padded = np.pad(close, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0


LEAKS: dict[str, Leak] = {
    "a centred mean": _centred_mean,
    "the close of the next candle": lambda close: np.append(close[1:], np.nan),
    "a share of the highest close of all": lambda close: close / close.max(),
    "warm-up filled in from later": lambda close: np.where(
        np.arange(len(close)) < 5, close[min(5, len(close) - 1)], close
    ),
    "a standard score of the whole": lambda close: (close - close.mean()) / (close.std() + 1.0),
    "how many candles there are": lambda close: np.full(len(close), float(len(close))),
    "a last bit of the last close": lambda close: close + np.spacing(close) * (close[-1] > close[0]),
    "the last candle known to be the last": lambda close: np.where(np.arange(len(close)) == len(close) - 1, 0.0, close),
}


@pytest.mark.parametrize("leak", list(LEAKS))
def test_a_planted_leak_is_noticed(leak: str) -> None:
    assert noticed(lambda candles: LEAKS[leak](candles.close)) > 20


def test_a_planted_leak_is_noticed_through_the_truth_of_a_condition() -> None:
    assert noticed(lambda candles: _centred_mean(candles.close) > candles.close) > 10


def test_a_leak_through_the_times_of_later_candles_is_noticed() -> None:
    def waits(candles: Candles) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        # How long the next candle keeps one waiting: prices alone would not show it.
        return np.diff(candles.timestamp, append=candles.timestamp[-1] + 60)

    assert noticed(waits) > 20


def test_what_looks_back_only_is_not_accused() -> None:
    assert noticed(lambda candles: np.maximum.accumulate(candles.close)) == 0


def noticed(compute: Values) -> int:
    """Return in how many of 40 cases the checker refuses the computation."""
    count = 0
    for seed in range(40):
        random = Random(seed)  # noqa: S311 - cases, not secrets
        try:
            assert_values_are_causal(compute, any_market(random, candles=60), random)
        except AssertionError:
            count += 1
    return count
