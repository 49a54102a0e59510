"""How often the verdict errs on searches whose truth is known: the promise of the whole package."""

import pytest

from quantbot_pipeline.optimization.honesty.made_up_searches import SearchWorld, Tails, made_up_verdict
from quantbot_pipeline.optimization.honesty.verdict import Answer

ALL_TAILS: tuple[Tails, ...] = ("student", "moonshots", "rugs", "normal")


def yes_count(world: SearchWorld, seeds: range) -> int:
    return sum(made_up_verdict(world, seed, draws=299).answer is Answer.DISTINGUISHABLE for seed in seeds)


def test_noise_is_taken_for_an_edge_in_at_most_one_of_twenty_searches() -> None:
    # 200 searches of 200 trials, 50 of each kind of tails.
    alarms = sum(yes_count(SearchWorld(tails=tails), range(50)) for tails in ALL_TAILS)
    assert alarms <= 10


def test_a_planted_edge_is_found_nearly_always() -> None:
    # 0.3 deviations of a trade, 300 calls; 10 searches of each kind of tails.
    found = sum(yes_count(SearchWorld(tails=tails, edge=0.3), range(10)) for tails in ALL_TAILS)
    assert found >= 36


def test_few_calls_are_too_little_data_and_not_a_no() -> None:
    world = SearchWorld(call_count=40, trial_count=30)
    answers = {made_up_verdict(world, seed).answer for seed in range(10)}
    assert answers == {Answer.TOO_LITTLE_DATA}


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "world",
    [
        SearchWorld(tails="normal"),
        SearchWorld(tails="student"),
        SearchWorld(tails="moonshots"),
        SearchWorld(tails="rugs"),
        SearchWorld(market_share=0.5),
        SearchWorld(wavelength=0.15, common_share=0.0),
        SearchWorld(common_share=0.9),
        SearchWorld(call_count=2000),
        SearchWorld(call_count=100, day_count=30),
        SearchWorld(sampler="climbing"),
        SearchWorld(sampler="climbing", tails="rugs"),
    ],
    ids=repr,
)
def test_false_alarms_of_a_thousand_searches_on_noise(world: SearchWorld) -> None:
    assert yes_count(world, range(1000, 2000)) <= 50


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("tails", ALL_TAILS)
def test_power_of_two_hundred_searches_with_an_edge(tails: Tails) -> None:
    assert yes_count(SearchWorld(tails=tails, edge=0.3), range(1000, 1200)) >= 180
