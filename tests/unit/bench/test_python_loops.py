"""The plain loops: by hand, and against the engine."""

import pytest

from quantbot_pipeline.bench.engine import prepare, simulate
from quantbot_pipeline.bench.markets import seeded_market
from quantbot_pipeline.bench.python_loops import (
    ListedCall,
    listed_calls,
    pnl_of_ladder,
    pnl_of_stop_and_target,
    total_pnl_of,
)
from quantbot_pipeline.bench.works import FEE, SHARED_WORKS, strategy_of

COST = (1 - FEE) / (1 + FEE)
"""What is left of 1 that is bought and sold at one price."""


def _call(*candles: tuple[float, float, float, float]) -> ListedCall:
    open_, high, low, close = (list(values) for values in zip(*candles, strict=True))
    return ListedCall(open_, high, low, close, 0, len(candles))


@pytest.mark.parametrize(
    ("second", "price"),
    [
        ((1.0, 1.2, 0.7, 1.0), 0.8),  # the stop inside
        ((0.6, 1.2, 0.5, 1.0), 0.6),  # the open jumps over the stop
        ((1.0, 1.6, 0.9, 1.0), 1.5),  # the target inside
        ((1.7, 1.8, 0.9, 1.0), 1.7),  # the open jumps over the target
        ((1.0, 1.6, 0.7, 1.0), 0.8),  # both: the stop is taken to come first
        ((1.0, 1.2, 0.9, 1.1), 1.1),  # neither: the last close
    ],
)
def test_stop_and_target_sell_where_the_rules_say(second: tuple[float, float, float, float], price: float) -> None:
    call = _call((1.0, 1.0, 1.0, 1.0), second)
    assert pnl_of_stop_and_target(call, 0.2, 1.5) == pytest.approx(price * COST - 1)


def test_first_target_of_a_ladder_moves_the_stop_to_entry() -> None:
    # Half at 2 in the second candle; the rest is stopped at 1 in the third, not at 0.5.
    call = _call((1.0, 1.0, 1.0, 1.0), (1.0, 2.1, 1.0, 2.0), (2.0, 2.0, 0.4, 0.5))
    assert pnl_of_ladder(call, 0.5, [(2.0, 0.5), (3.0, 0.5)]) == pytest.approx((0.5 * 2 + 0.5 * 1) * COST - 1)


def test_gap_over_two_targets_of_a_ladder_sells_both_at_the_open() -> None:
    call = _call((1.0, 1.0, 1.0, 1.0), (4.0, 4.0, 4.0, 4.0))
    assert pnl_of_ladder(call, 0.5, [(2.0, 0.5), (3.0, 0.5)]) == pytest.approx(4 * COST - 1)


@pytest.mark.parametrize("work", SHARED_WORKS)
def test_loops_earn_what_the_engine_earns(work: str) -> None:
    market = seeded_market(5, 4_000, 40)
    run = simulate(prepare(market), strategy_of(work))
    assert total_pnl_of(work, listed_calls(market)) == pytest.approx(run.metrics().total_pnl, rel=1e-12)
