"""Shuffled call times and the tests on them."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.permutation import (
    CallTimeShuffle,
    SequentialPermutationTest,
    best_of_trials_test,
)

JANUARY = 1_704_067_200  # 2024-01-01T00:00:00Z
FEBRUARY = 1_706_745_600
MINUTES = JANUARY + 60 * np.arange(1000)


def test_calls_of_a_token_turn_by_the_same_number_of_candles() -> None:
    calls = MINUTES[[10, 12, 500]]
    shuffle = CallTimeShuffle(calls, np.zeros(3, dtype=np.int64), [MINUTES], seed=1)
    for index in range(50):
        places = (shuffle.draw(index) - JANUARY) // 60
        assert ((places - places[0]) % 1000).tolist() == [0, 2, 490]


def test_every_place_is_as_likely_as_any_other() -> None:
    shuffle = CallTimeShuffle(MINUTES[[3]], np.zeros(1, dtype=np.int64), [MINUTES[:10]], seed=1)
    drawn = [int((shuffle.draw(index)[0] - JANUARY) // 60) for index in range(2000)]
    # 200 of each, deviation 13.
    assert np.abs(np.bincount(drawn, minlength=10) - 200).max() < 55


def test_the_same_number_gives_the_same_times_in_any_order() -> None:
    calls = MINUTES[[10, 12, 500]]
    one = CallTimeShuffle(calls, np.zeros(3, dtype=np.int64), [MINUTES], seed=7)
    other = CallTimeShuffle(calls, np.zeros(3, dtype=np.int64), [MINUTES], seed=7)
    backwards = [other.draw(index).tolist() for index in reversed(range(5))]
    assert [one.draw(index).tolist() for index in range(5)] == backwards[::-1]


def test_calls_stay_in_their_month_and_on_candles() -> None:
    candles = np.concatenate([JANUARY + 60 * np.arange(30), FEBRUARY + 60 * np.arange(50)])
    calls = np.array([JANUARY + 65, FEBRUARY + 61, FEBRUARY + 600])
    shuffle = CallTimeShuffle(calls, np.zeros(3, dtype=np.int64), [candles], seed=1)
    for index in range(50):
        times = shuffle.draw(index)
        assert (times >= FEBRUARY).tolist() == [False, True, True]
        # The second within the candle is kept.
        assert np.isin(times - [5, 1, 0], candles).all()


def test_without_months_calls_move_over_all_candles() -> None:
    candles = np.concatenate([JANUARY + 60 * np.arange(30), FEBRUARY + 60 * np.arange(30)])
    shuffle = CallTimeShuffle(candles[[1]], np.zeros(1, dtype=np.int64), [candles], seed=1, by_month=False)
    assert {bool(shuffle.draw(index)[0] >= FEBRUARY) for index in range(30)} == {False, True}


def test_calls_of_one_hour_stay_together_unless_told_otherwise() -> None:
    calls, tokens = MINUTES[[100, 103, 100]], np.array([0, 1, 2])
    together = CallTimeShuffle(calls, tokens, [MINUTES] * 3, seed=1)
    apart = CallTimeShuffle(calls, tokens, [MINUTES] * 3, seed=1, together=False)
    assert all(np.ptp((together.draw(index) - calls) % 60_000) == 0 for index in range(20))
    assert any(np.ptp((apart.draw(index) - calls) % 60_000) > 0 for index in range(20))


def test_each_month_turns_by_a_share_of_its_own() -> None:
    candles = np.concatenate([JANUARY + 60 * np.arange(1000), FEBRUARY + 60 * np.arange(1000)])
    first, second = JANUARY + 60 * 5, FEBRUARY + 60 * 5
    shuffle = CallTimeShuffle(np.array([first, second, first, second]), np.array([0, 0, 1, 1]), [candles] * 2, seed=1)
    for index in range(10):
        times = shuffle.draw(index)
        assert times[0] == times[2]
        assert times[1] == times[3]
        assert times[1] - times[0] != second - first


def test_calls_without_candles_stay_and_are_counted() -> None:
    calls = np.array([FEBRUARY + 5, MINUTES[3]])
    shuffle = CallTimeShuffle(calls, np.array([0, 1]), [MINUTES, MINUTES], seed=1)
    assert shuffle.unmoved_count == 1
    assert shuffle.draw(0)[0] == FEBRUARY + 5


def test_a_call_before_the_first_candle_counts_as_made_at_it() -> None:
    shuffle = CallTimeShuffle(np.array([JANUARY + 10]), np.array([0]), [MINUTES[5:15]], seed=1)
    assert np.isin([shuffle.draw(index)[0] for index in range(20)], MINUTES[5:15]).all()


def test_unknown_tokens_are_refused() -> None:
    with pytest.raises(EvidenceError, match="tokens of calls go from 0 to 2"):
        CallTimeShuffle(MINUTES[:2], np.array([0, 2]), [MINUTES, MINUTES], seed=1)


def test_a_test_stops_when_enough_shuffles_did_as_well() -> None:
    test = SequentialPermutationTest(1.0, stop_after=2, at_most=99)
    assert [test.add(score) for score in (0.5, 1.0, None, 2.0, 9.0)] == [False, False, False, True, True]
    found = test.result()
    assert (found.p_value, found.shuffle_count, found.stopped_early) == (2 / 4, 4, True)


def test_a_test_that_is_not_stopped_adds_the_real_calls() -> None:
    test = SequentialPermutationTest(1.0, stop_after=5, at_most=19)
    for _ in range(30):
        test.add(0.0)
    assert test.result().p_value == pytest.approx(1 / 20)
    assert not test.result().stopped_early


@pytest.mark.parametrize("level", [0.05, 0.1, 0.3])
def test_stopping_early_raises_no_false_alarms(level: float) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(2000):
        observed, *shuffled = rng.standard_normal(100)
        test = SequentialPermutationTest(observed, stop_after=5, at_most=99)
        for score in shuffled:
            if test.add(score):
                break
        alarms += test.result().p_value <= level
    assert alarms / 2000 == pytest.approx(level, abs=2.5 * (level * (1 - level) / 2000) ** 0.5)


def test_the_best_of_all_trials_is_compared_with_the_best() -> None:
    rng = np.random.default_rng(0)
    shuffled = rng.standard_normal((500, 40)) * np.linspace(1, 30, 40)
    observed = rng.standard_normal(40) * np.linspace(1, 30, 40)
    observed[0] = 2.3  # 1 in 100 for one trial, nothing for the best of 40
    assert best_of_trials_test(observed, shuffled, 0).p_value > 0.2
    assert best_of_trials_test(observed[:1], shuffled[:, :1], 0).p_value < 0.03
    observed[0] = 6.0
    assert best_of_trials_test(observed, shuffled, 0).p_value == pytest.approx(1 / 501)


def test_scores_that_are_missing_are_never_the_best() -> None:
    shuffled = np.array([[np.nan, 1.0], [np.nan, 2.0], [np.nan, 3.0]])
    assert best_of_trials_test(np.array([np.nan, 9.0]), shuffled, 1).p_value == pytest.approx(1 / 4)
    with pytest.raises(EvidenceError, match="winner 0 has no score"):
        best_of_trials_test(np.array([np.nan, 9.0]), shuffled, 0)


def chance_of_an_alarm(*, together: bool, informed: float = 0.0) -> float:
    """Return how often calls in bursts on ten tokens of one market look timed at the level of 5 %.

    A burst calls all tokens in the same minute; what each earns is its price's change over the next ten minutes, of
    which the market makes most. `informed` is added to the return of the minute after each call.
    """
    alarms, searches = 0, 200
    for seed in range(searches):
        rng = np.random.default_rng(seed)
        market = rng.standard_normal(1000)
        moves = 0.9 * market + 0.4 * rng.standard_normal((10, 1000))
        place = np.repeat(rng.integers(1000, size=3), 10)
        token = np.tile(np.arange(10), 3)
        moves[token, (place + 1) % 1000] += informed
        # The change over the next ten minutes, on a ring: ends do not matter here.
        ahead = sum(np.roll(moves, -minute, axis=1) for minute in range(1, 11))
        shuffle = CallTimeShuffle(MINUTES[place], token, [MINUTES] * 10, seed=seed, together=together)
        test = SequentialPermutationTest(float(ahead[token, place].mean()), stop_after=10, at_most=59)
        index = 0
        while not test.is_done:
            drawn = (shuffle.draw(index) - JANUARY) // 60
            test.add(float(ahead[token, drawn].mean()))
            index += 1
        alarms += test.result().p_value <= 0.05
    return alarms / searches


def test_bursts_of_calls_on_one_market_are_one_chance_when_tokens_turn_together() -> None:
    # 10 expected, deviation 3.1.
    assert chance_of_an_alarm(together=True) <= 0.085


def test_bursts_taken_apart_look_timed_far_too_often() -> None:
    """The reason why tokens turn together unless told otherwise."""
    assert chance_of_an_alarm(together=False) > 0.2


def test_calls_that_know_when_are_found() -> None:
    assert chance_of_an_alarm(together=True, informed=6.0) > 0.8
