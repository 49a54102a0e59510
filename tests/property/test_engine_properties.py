"""What holds for every strategy on every market: no look-ahead, no money from nowhere, no dependence on scale."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from bookkeeping import check_marks, check_money, check_order
from causality import assert_engine_is_causal
from engines import Simulate, as_text, on_both_engines
from hypothesis import given, settings
from strategy_space import any_market, random_calls, random_document, random_strategy, seeds, times_prices

from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.metrics import equity_curve, run_metrics
from quantbot_pipeline.strategy.model import canonical_json, config_hash, parse_strategy

# The kernels are compiled by the first test where numba's cache is empty: about a minute, more on a busy machine.
pytestmark = pytest.mark.timeout(900)

many = settings(max_examples=300, deadline=None, derandomize=True)


@on_both_engines
@many
@given(seeds())
def test_nothing_changes_when_the_future_is_cut_off_or_another(simulate: Simulate, random: Random) -> None:
    market = any_market(random, candles=random.choice([2, 10, 60]))
    assert_engine_is_causal(simulate, market, random_calls(random, market), random_strategy(random), random)


@on_both_engines
@many
@given(seeds())
def test_prices_money_order_and_marks_are_those_of_a_second_set_of_books(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    trades = simulate(market, random_calls(random, market), strategy)
    for trade in trades:
        check_order(trade, market, strategy)
        check_money(trade, market, strategy)
        check_marks(trade, market)
    metrics = run_metrics(trades)
    assert metrics.trade_count + metrics.skipped_count == len(trades)
    assert metrics.total_pnl == pytest.approx(sum(trade.pnl for trade in trades), rel=1e-9, abs=1e-9)
    if metrics.trade_count:
        assert equity_curve(trades).equity[-1] == pytest.approx(metrics.final_pnl, rel=1e-9, abs=1e-9)


PURE_INDICATORS = ("rsi(", "price_change(", "volume_change(")
PURE_OUTPUTS = (".percent_b", ".bandwidth")
"""How the labels of indicators begin and end whose values are no prices."""


def with_prices_times(trade: Trade, factor: float) -> str:
    """Return a trade as text after multiplying all that is a price, and dividing what is a quantity of tokens."""

    def scaled(state: Mapping[str, float]) -> dict[str, float]:
        factors = {"average_entry": factor, "stop": factor, "peak": factor, "quantity": 1 / factor}
        return {key: value * factors[key] if key in factors else value for key, value in state.items()}

    def scaled_indicators(values: Mapping[str, float]) -> dict[str, float]:
        return {
            label: value if label.startswith(PURE_INDICATORS) or label.endswith(PURE_OUTPUTS) else value * factor
            for label, value in values.items()
        }

    events: list[Any] = [
        replace(
            event,
            price=event.price * factor,
            position_state=scaled(event.position_state),
            indicators=scaled_indicators(event.indicators),
        )
        for event in trade.events
    ]
    return as_text(replace(trade, events=tuple(events)))


@on_both_engines
@many
@given(seeds())
def test_multiplying_all_prices_by_a_power_of_two_multiplies_only_prices(simulate: Simulate, random: Random) -> None:
    factor = 2.0 ** random.randint(-40, 40)
    market = any_market(random)
    document = random_document(random, scale_free=True)
    asked = random_calls(random, market)
    plain = simulate(market, asked, parse_strategy(document))
    # Slippage by volume compares the trade's capital with the money that is traded.
    if random.random() < 0.5:
        scaled_market = times_prices(market, factor, volume_factor=1 / factor)
    else:
        scaled_market = times_prices(market, factor)
        slippage = document.get("costs", {}).get("slippage", {})
        if "capital_quote" in slippage:
            slippage["capital_quote"] *= factor
    scaled = simulate(scaled_market, asked, parse_strategy(document))
    assert [as_text(trade) for trade in scaled] == [with_prices_times(trade, factor) for trade in plain]


@on_both_engines
@many
@given(seeds())
def test_skipping_strategies_hold_one_trade_at_a_time(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    overlap = random.choice(["skip", "scale_in"])
    strategy = parse_strategy({**random_document(random), "overlap": overlap})
    held = [trade for trade in simulate(market, random_calls(random, market), strategy) if trade.has_bought]
    for before, after in pairwise(held):
        assert after.mark_timestamp[0] > before.mark_timestamp[-1]


@on_both_engines
@many
@given(seeds())
def test_the_same_inputs_give_the_same_result_and_stay_as_they_are(simulate: Simulate, random: Random) -> None:
    market = any_market(random)
    strategy = random_strategy(random)
    asked = random_calls(random, market)
    before = [column.tobytes() for column in columns_of(market)]
    first = simulate(market, asked, strategy)
    assert [as_text(trade) for trade in simulate(market, asked, strategy)] == [as_text(trade) for trade in first]
    assert [column.tobytes() for column in columns_of(market)] == before


def columns_of(market: Any) -> list[np.ndarray[Any, Any]]:
    return [market.timestamp, market.open, market.high, market.low, market.close, market.volume]


@many
@given(seeds())
def test_a_document_and_its_canonical_form_mean_the_same(random: Random) -> None:
    document = random_document(random)
    strategy = parse_strategy(document)
    again = parse_strategy({"name": "other", **json.loads(canonical_json(strategy))})
    assert config_hash(again) == config_hash(strategy)
