"""Conditions on what a model says of a call, worked out by hand; both engines tell the same in each case.

A score belongs to the call, not to a candle: a condition on it says the same at every close of the trade, and is
unknown for a call without one. Unknown is false, also under a `not`.
"""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
from engine_cases import candles, reasons, simulate, story, strategy

from quantbot_pipeline.engine import simulation_work
from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.fast import simulate_many
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.engine.score_conditions import bind_scores, score_truths
from quantbot_pipeline.strategy.model import SignalEntry

pytestmark = pytest.mark.timeout(900)

# Opens 1, 2, 3, … at 0, 60, 120, …; every candle is one price.
RISING = candles(*([60 * k, k + 1, k + 1, k + 1, k + 1] for k in range(10)))


def score_is(op: str, right: float, score: str = "skill", **more: Any) -> dict[str, Any]:
    return {"score": score, "op": op, "right": right, **more}


def close_is(op: str, level: float) -> dict[str, Any]:
    return {"left": {"candle": "close"}, "op": op, "right": level}


def entering(when: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a strategy that waits two minutes for a signal, and skips the call without it."""
    return {"entry": {"type": "signal", "when": when, "max_wait_seconds": 120}, **more}


def outcome(when: dict[str, Any], scores: Mapping[str, float], market: Candles = RISING) -> tuple[str, int]:
    """Return the first event of a call with these scores, and its time."""
    [trade] = simulate(market, [Call(1, 1, 0, scores=scores)], strategy(**entering(when)))
    return (trade.events[0].event_type.value, trade.events[0].event_time)


BOUGHT = ("entry", 60)
"""The signal held at the close of the first candle: bought at the open of the second."""

SKIPPED = ("entry_skipped", 180)
"""It held at none of the closes of 0, 60 and 120; the candle of 180 is the first after the wait."""


@pytest.mark.parametrize(
    ("op", "below", "same", "above"),
    [
        (">", SKIPPED, SKIPPED, BOUGHT),
        (">=", SKIPPED, BOUGHT, BOUGHT),
        ("<", BOUGHT, SKIPPED, SKIPPED),
        ("<=", BOUGHT, BOUGHT, SKIPPED),
        ("==", SKIPPED, BOUGHT, SKIPPED),
        ("!=", BOUGHT, SKIPPED, BOUGHT),
    ],
)
def test_a_score_is_compared_with_the_number(
    op: str, below: tuple[str, int], same: tuple[str, int], above: tuple[str, int]
) -> None:
    found = [outcome(score_is(op, 0.5), {"skill": score}) for score in (0.25, 0.5, 0.75)]
    assert found == [below, same, above]


@pytest.mark.parametrize("scores", [{}, {"luck": 0.9}, {"skill": float("nan")}])
def test_a_call_without_the_score_is_not_bought_whatever_is_asked_of_it(scores: dict[str, float]) -> None:
    asked = score_is(">", 0.5)
    assert outcome(asked, scores) == SKIPPED
    assert outcome(score_is("<=", 0.5), scores) == SKIPPED
    # A `not` around what is unknown is false, like one around a value in warm-up, also deeper inside.
    assert outcome({"not": asked}, scores) == SKIPPED
    assert outcome({"not": {"any": [asked, close_is("<", 0)]}}, scores) == SKIPPED
    # Other members of an `any` still decide.
    assert outcome({"any": [asked, close_is(">", 0)]}, scores) == BOUGHT


def test_a_not_turns_a_known_score_around() -> None:
    assert outcome({"not": score_is(">", 0.5)}, {"skill": 0.25}) == BOUGHT
    assert outcome({"not": score_is(">", 0.5)}, {"skill": 0.75}) == SKIPPED


def test_a_score_and_a_price_decide_together() -> None:
    # Closes 1, 2, 3: above 1.5 first at the close of the candle of 60, so bought at 120.
    when = {"all": [score_is(">", 0.5), close_is(">", 1.5)]}
    assert outcome(when, {"skill": 0.75}) == ("entry", 120)
    assert outcome(when, {"skill": 0.25}) == SKIPPED


def test_two_models_are_two_conditions() -> None:
    when = {"all": [score_is(">", 0.5), score_is("<", 0.5, "luck")]}
    assert outcome(when, {"skill": 0.75, "luck": 0.25}) == BOUGHT
    assert outcome(when, {"skill": 0.75, "luck": 0.75}) == SKIPPED
    assert outcome(when, {"skill": 0.75}) == SKIPPED


def test_a_score_that_must_persist_waits_for_the_closes_that_it_counts() -> None:
    # It says the same at all closes, but before the first candle there was none to count: two there are at 60.
    assert outcome(score_is(">", 0.5, lookback=2, min_true=2), {"skill": 0.75}) == ("entry", 120)


def test_each_call_goes_by_its_own_score() -> None:
    of = strategy(**entering(score_is(">", 0.5)))
    calls = [Call(k, 1, 0, scores={"skill": score}) for k, score in enumerate([0.75, 0.25, 0.6])]
    calls.append(Call(3, 1, 0))
    assert [trade.events[0].event_type.value for trade in simulate(RISING, calls, of)] == [
        *("entry", "entry_skipped", "entry", "entry_skipped")
    ]


def test_an_exit_and_a_leg_may_ask_for_the_score_too() -> None:
    # Bought at 1; sold at the next open, 2, if the model likes it not.
    of = strategy(exits={"when": score_is("<", 0.5)})
    good, bad = simulate(RISING, [Call(1, 1, 0, scores={"skill": 0.9}), Call(2, 1, 0, scores={"skill": 0.1})], of)
    assert story(bad) == [("entry", 0, 1.0), ("signal_exit", 60, 2.0)]
    assert story(good) == [("entry", 0, 1.0), ("final_exit", 600, 10.0)]
    # Half at once, the other half at the open after the leg's signal held.
    legs = [{"id": "now", "size": 0.5, "offset": 0}, {"id": "if", "size": 0.5, "when": score_is(">", 0.5)}]
    ladder = strategy(entry={"type": "ladder", "legs": legs}, horizon_seconds=120)
    good, bad = simulate(RISING, [Call(1, 1, 0, scores={"skill": 0.9}), Call(2, 1, 0, scores={"skill": 0.1})], ladder)
    assert story(good) == [("entry", 0, 1.0), ("ladder_entry", 60, 2.0), ("time_exit", 120, 3.0)]
    assert story(bad) == [("entry", 0, 1.0), ("time_exit", 120, 3.0)]


def test_an_exit_call_has_no_say_by_its_own_score() -> None:
    # The trade goes by the score of the call that opened it.
    of = strategy(exits={"when": score_is("<", 0.5), "on_exit_call": True})
    calls = [
        Call(1, 1, 0, scores={"skill": 0.9}),
        Call(2, 1, 200, SignalType.EXIT, Side.SELL, scores={"skill": 0.1}),
    ]
    [trade] = simulate(RISING, calls, of)
    assert story(trade) == [("entry", 0, 1.0), ("signal_exit", 240, 5.0)]
    assert reasons(trade) == [None, "exit_call"]


def test_a_call_that_its_score_refuses_blocks_the_next_one_while_it_waits() -> None:
    of = strategy(**entering(score_is(">", 0.5), overlap="skip", exits={"max_hold_seconds": 60}))
    calls = [
        Call(1, 1, 0, scores={"skill": 0.1}),
        Call(2, 1, 100, scores={"skill": 0.9}),
        Call(3, 1, 190, scores={"skill": 0.9}),
        Call(4, 2, 230, scores={"skill": 0.1}),
        Call(5, 2, 400, scores={"skill": 0.9}),
    ]
    found = simulate(RISING, calls, of)
    assert [(trade.events[0].event_time, reasons(trade)[0]) for trade in found] == [
        # Its wait of two minutes is over at 180; a call before that is refused.
        (180, "timeout"),
        (120, "overlap"),
        # First candle 240, bought at the next open and sold a minute later: refused is what comes up to 360.
        (300, None),
        (240, "overlap"),
        (480, None),
    ]


def test_a_scale_in_finds_the_trade_that_its_score_let_in() -> None:
    of = strategy(**entering(score_is(">", 0.5), overlap="scale_in", scale_in_size=0.5))
    scores = [{"skill": 0.9}, {"skill": 0.1}]
    for first, second in (scores, scores[::-1]):
        calls = [
            Call(1, 1, 0, scores=first),
            Call(2, 1, 110, SignalType.SCALE_IN),
            Call(3, 2, 240, scores=second),
            Call(4, 2, 400, SignalType.SCALE_IN),
        ]
        found = {
            trade.call_id: [event.event_type.value for event in trade.events] for trade in simulate(RISING, calls, of)
        }
        if first["skill"] > 0.5:
            # Bought at 60 and held to the end: the scale-in of 110 buys at 120, the other caller's call is refused.
            assert found == {
                1: ["entry", "scale_in", "final_exit"],
                3: ["entry_skipped"],
                4: ["entry_skipped"],
            }
        else:
            # Never bought; its scale-in has nothing to scale. The other call's is bought at 300.
            assert found == {
                1: ["entry_skipped"],
                2: ["entry_skipped"],
                3: ["entry", "scale_in", "final_exit"],
            }


def busy(k: int) -> Call:
    kind = SignalType.SCALE_IN if k % 5 == 4 else SignalType.ENTRY
    return Call(k, k % 2, 5 * k, kind, scores={"skill": (k * 7 % 10) / 10})


@pytest.mark.parametrize("overlap", ["independent", "skip", "scale_in"])
def test_pieces_that_run_out_of_rows_and_threads_change_nothing(overlap: str) -> None:
    """With room for one row per piece, every trade is interrupted and goes on where it was."""
    when = {"any": [score_is(">", 0.4), close_is(">", 4)]}
    targets = [{"multiple": 1.0 + k / 8, "size": 0.1} for k in range(1, 9)]
    of = strategy(**entering(when, overlap=overlap, exits={"targets": targets}, horizon_seconds=240))
    calls = [busy(k) for k in range(100)]
    markets = dict.fromkeys("abc", RISING)
    asked = {"a": calls, "b": calls[:3], "c": calls[::2]}
    expected = {key: simulate(RISING, of_token, of) for key, of_token in asked.items()}
    patched = mock.patch.multiple(simulation_work, CALLS_PER_PIECE=1, ROWS_PER_CALL=1)
    for threads in (1, 3):
        with patched:
            [run] = simulate_many(markets, asked, [of], threads=threads)
        found = run.trades()
        assert {key: _told(trades) for key, trades in found.items()} == {
            key: _told(trades) for key, trades in expected.items()
        }


def _told(trades: list[Trade]) -> list[str]:
    return [repr(trade.events) for trade in trades]


def test_a_threshold_that_splits_calls_alike_simulates_the_same() -> None:
    market, calls = RISING, [busy(k) for k in range(20)]
    one, other = (simulate(market, calls, strategy(**entering(score_is(">", level)))) for level in (0.41, 0.49))
    assert _told(one) == _told(other)


def test_binding_leaves_a_strategy_without_scores_to_simulate() -> None:
    when = {"all": [score_is(">", 0.5), {"not": score_is(">", 0.7, "luck")}, close_is(">", 1)]}
    of = strategy(**entering(when))
    call = Call(1, 1, 0, scores={"skill": 0.75})
    assert of.score_names() == ("luck", "skill")
    truths = score_truths(of.score_conditions(), call)
    assert truths == (True, None)
    bound = bind_scores(of, truths)
    assert bound.score_conditions() == ()
    assert isinstance(bound.entry, SignalEntry)
    # A score needs no candle before the call.
    assert warm_up_candles(bound) == warm_up_candles(of) == 1


def test_calls_without_scores_share_nothing_that_could_be_written_to() -> None:
    with pytest.raises(TypeError):
        Call(1, 1, 0).scores["skill"] = 1.0  # type: ignore[index]
    assert hash(Call(1, 1, 0, scores={"skill": 1.0})) is not None
