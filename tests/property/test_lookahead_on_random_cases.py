"""Both engines stand the look-ahead check over the whole space of strategies.

It is stricter than cutting between candles: with half a candle beside the cut, orders at an open may know that
open alone.
"""

from random import Random

import pytest
from hypothesis import given, settings
from strategy_space import random_calls, random_market, random_strategy, seeds

from quantbot_pipeline.engine.lookahead import CausalityCheck, Market, OpenedMarket
from quantbot_pipeline.engine.warm_up import WarmUpCheck
from quantbot_pipeline.workflows.check_lookahead import ENGINES, Engine


@pytest.mark.parametrize("engine", ["reference", "fast"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(random=seeds())
def test_engines_know_no_later_candle_and_settle_in_their_warm_up(engine: Engine, random: Random) -> None:
    open_market = ENGINES[engine]
    market, strategy = random_market(random), random_strategy(random)
    opened = OpenedMarket(Market("test:A", market, tuple(random_calls(random, market))), strategy, open_market)
    causality = CausalityCheck(strategy, open_market, seed=random.getrandbits(32))
    causality.check(opened, 6)
    assert not causality.report.looks_ahead, causality.report
    warm_up = WarmUpCheck(strategy, open_market)
    warm_up.check(opened, 4)
    assert not warm_up.report.depends_on_history, warm_up.report
