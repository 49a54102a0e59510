"""Signal trees: comparisons, crossings, shifts, NaN, groups and persistence, candle by candle."""

from typing import Any

import pytest
from engine_cases import candles, strategy

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.conditions import evaluate, signal_warm_up
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.strategy.model import SignalEntry
from quantbot_pipeline.strategy.signals import SignalNode

MARKET = candles(*[[60 * k, c, c, c, c] for k, c in enumerate([1, 2, 3, 2, 2, 1])])
CLOSE = {"candle": "close"}
SMA = {"indicator": "sma", "params": {"period": 2}}


def node(document: dict[str, Any]) -> SignalNode:
    entry = strategy(entry={"type": "signal", "when": document}).entry
    assert isinstance(entry, SignalEntry)
    return entry.when


def truth(document: dict[str, Any]) -> str:
    """Return the truth at each close of 1 2 3 2 2 1, as text of x and dots; the same for both engines."""
    holds = evaluate(node(document), MARKET).tolist()
    prepared = PreparedMarkets({"token": MARKET}, {"token": [Call(1, 1, 0)]})
    assert prepared.truth(0, node(document)).tolist() == holds
    return "".join("x" if is_true else "." for is_true in holds)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (">", "..x..."),
        (">=", ".xxxx."),
        ("<", "x....x"),
        ("<=", "xx.xxx"),
        ("==", ".x.xx."),
        ("!=", "x.x..x"),
        # From at most 2 to above 2; from at least 2 to below 2.
        ("crosses_above", "..x..."),
        ("crosses_below", ".....x"),
    ],
)
def test_comparison_with_a_number(op: str, expected: str) -> None:
    assert truth({"left": CLOSE, "op": op, "right": 2}) == expected


def test_crossing_starts_at_equality() -> None:
    # 1 → 2 → 3 against 2: above counts at the 3, where the value before was equal.
    assert truth({"left": CLOSE, "op": "crosses_above", "right": 2}) == "..x..."
    # Against 1: only the first step goes from equal to above.
    assert truth({"left": CLOSE, "op": "crosses_above", "right": 1}) == ".x...."


def test_shift_is_the_value_that_many_candles_earlier() -> None:
    assert truth({"left": CLOSE, "op": ">", "right": {"candle": "close", "shift": 1}}) == ".xx..."
    assert truth({"left": {"candle": "close", "shift": 2}, "op": ">=", "right": 2}) == "...xxx"


def test_value_in_warm_up_makes_every_comparison_false() -> None:
    # SMA(2): NaN 1.5 2.5 2.5 2 1.5
    for op, expected in ((">", "..xx.."), ("<", ".x...x"), ("!=", ".xxx.x"), (">=", "..xxx.")):
        assert truth({"left": SMA, "op": op, "right": 2}) == expected


def test_not_around_a_nan_is_false() -> None:
    condition = {"left": SMA, "op": ">", "right": 2}
    assert truth({"not": condition}) == ".x..xx"
    assert truth({"not": {"not": condition}}) == "..xx.."
    # One member is known and true, but the other is NaN at candle 0: the negation stays false there.
    always = {"left": CLOSE, "op": ">", "right": 0}
    assert truth({"any": [condition, always]}) == "xxxxxx"
    never = {"left": CLOSE, "op": "<", "right": 0}
    assert truth({"not": {"all": [condition, never]}}) == ".xxxxx"


def test_groups_and_depth() -> None:
    above, below = {"left": CLOSE, "op": ">=", "right": 2}, {"left": CLOSE, "op": "<=", "right": 2}
    assert truth({"all": [above, below]}) == ".x.xx."
    assert truth({"any": [{"not": above}, {"all": [above, {"not": below}]}]}) == "x.x..x"


def test_persistence_counts_the_last_closed_candles() -> None:
    two = {"left": CLOSE, "op": "==", "right": 2}
    assert truth(two) == ".x.xx."
    assert truth({**two, "lookback": 2, "min_true": 1}) == ".xxxxx"
    assert truth({**two, "lookback": 2, "min_true": 2}) == "....x."
    assert truth({**two, "lookback": 3, "min_true": 2}) == "...xxx"
    # Fewer candles than the lookback: those there are count.
    assert truth({"all": [{"left": CLOSE, "op": "<", "right": 9}], "lookback": 4, "min_true": 2}) == ".xxxxx"


def test_not_around_persistence_needs_the_whole_lookback() -> None:
    three = {"left": CLOSE, "op": "==", "right": 3, "lookback": 3, "min_true": 1}
    assert truth(three) == "..xxx."
    # Candles 0 and 1 look back beyond the first candle.
    assert truth({"not": three}) == ".....x"


def test_warm_up_is_the_longest_path_of_the_tree() -> None:
    # SMA 5: 4, shifted by 2: 6, crossing: 7, over 3 candles: 9, in a group over 2: 10.
    crossing = {
        "left": {"indicator": "sma", "params": {"period": 5}, "shift": 2},
        "op": "crosses_above",
        "right": CLOSE,
        "lookback": 3,
        "min_true": 1,
    }
    document = {"any": [crossing, {"left": CLOSE, "op": ">", "right": 1}], "lookback": 2, "min_true": 1}
    assert signal_warm_up(node(document)) == 10
    # One more for the indicators that an event at the first open reports.
    assert warm_up_candles(strategy(entry={"type": "signal", "when": document})) == 11


def test_strategy_without_signals_needs_no_warm_up_but_volume_share_needs_a_candle() -> None:
    assert warm_up_candles(strategy()) == 0
    slippage = {"type": "volume_share", "base": 0, "impact": 1, "cap": 0.1, "capital_quote": 1}
    assert warm_up_candles(strategy(costs={"slippage": slippage})) == 1
