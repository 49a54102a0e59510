"""The rules that turn alerts into calls."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.calls import (
    AlertFacts,
    CallPolicy,
    CallRules,
    DerivedCall,
    classify_call,
    derive_calls,
    place_tokens,
    signal_strength,
)
from quantbot_pipeline.ingest.tokens import TokenKey

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
HOUR = 3600


def said(number: int, seconds: float, caller: int = 1, token: int = 1, **changes: object) -> AlertFacts:
    values: dict[str, object] = {
        "alert_id": number,
        "token_id": token,
        "caller_id": caller,
        "side": Side.BUY,
        "signal_type": SignalType.ENTRY,
        "confidence": None,
        "alert_timestamp": NOON + timedelta(seconds=seconds),
    }
    return AlertFacts(**{**values, **changes})  # type: ignore[arg-type]


def active(calls: list[DerivedCall]) -> list[int]:
    return [call.alert.alert_id for call in calls if call.inactive_reason is None]


# --- side and signal type ---


@pytest.mark.parametrize("signal_type", list(SignalType))
def test_a_sell_is_an_exit_whatever_its_signal_type(signal_type: SignalType) -> None:
    assert classify_call(Side.SELL, signal_type) == (Side.SELL, SignalType.EXIT)


def test_an_exit_is_a_sell() -> None:
    assert classify_call(Side.BUY, SignalType.EXIT) == (Side.SELL, SignalType.EXIT)


@pytest.mark.parametrize("signal_type", [SignalType.ENTRY, SignalType.SCALE_IN, SignalType.SCALE_OUT])
def test_everything_else_stays_as_the_alert_says(signal_type: SignalType) -> None:
    assert classify_call(Side.BUY, signal_type) == (Side.BUY, signal_type)


# --- which alerts are calls ---


def test_every_alert_is_a_call_by_default() -> None:
    alerts = [said(1, 0), said(2, 0), said(3, 1), said(4, 2, caller=2)]
    assert active(derive_calls(alerts, CallRules())) == [1, 2, 3, 4]


def test_the_first_entry_alert_of_a_caller_on_a_token_alone_is_a_call() -> None:
    alerts = [said(1, 10), said(2, 20), said(3, 0, token=2), said(4, 30, caller=2), said(5, 5)]
    calls = derive_calls(alerts, CallRules(policy=CallPolicy.FIRST))
    # Alert 5 came before alert 1.
    assert active(calls) == [3, 5, 4]
    assert [call.inactive_reason for call in calls if call.inactive_reason] == [
        "not the caller's first entry call on the token, which is that of alert 5"
    ] * 2


def test_a_cool_down_counts_from_the_last_call_and_its_end_is_over() -> None:
    # 0 is a call; 3599 is within an hour of it; 3600 is not, and is the call that 7199 is within an hour of.
    alerts = [said(1, 0), said(2, 3599), said(3, 3600), said(4, 7199), said(5, 7200)]
    assert active(derive_calls(alerts, CallRules(cool_down_seconds=HOUR))) == [1, 3, 5]


def test_a_cool_down_is_of_one_caller_on_one_token() -> None:
    alerts = [said(1, 0), said(2, 1, caller=2), said(3, 2, token=2)]
    assert active(derive_calls(alerts, CallRules(cool_down_seconds=HOUR))) == [1, 2, 3]


@pytest.mark.parametrize("rules", [CallRules(policy=CallPolicy.FIRST), CallRules(cool_down_seconds=HOUR)])
def test_exits_and_scalings_are_calls_always_and_hold_up_no_entry(rules: CallRules) -> None:
    kinds = [SignalType.EXIT, SignalType.SCALE_IN, SignalType.SCALE_OUT]
    alerts = [said(number, number, signal_type=kind) for number, kind in enumerate([*kinds, *kinds])]
    assert active(derive_calls([*alerts, said(9, 9)], rules)) == [0, 1, 2, 3, 4, 5, 9]


# --- strength ---


def test_each_other_caller_before_halves_what_is_missing_to_certainty() -> None:
    assert signal_strength(0.6, 0) == pytest.approx(0.6)
    assert signal_strength(0.6, 1) == pytest.approx(0.8)
    assert signal_strength(0.6, 2) == pytest.approx(0.9)
    assert signal_strength(None, 1) == 0.75
    assert signal_strength(7.0, 3) == 1.0
    assert signal_strength(-7.0, 1) == 0.5


def test_repetition_counts_other_callers_once_and_every_alert() -> None:
    alerts = [said(1, 0, caller=2), said(2, 1, caller=2), said(3, 2, caller=3), said(4, 3), said(5, 4)]
    calls = derive_calls(alerts, CallRules())
    assert [(call.callers_before, call.alerts_before) for call in calls] == [(0, 0), (0, 1), (1, 2), (2, 3), (2, 4)]


def test_repetition_reaches_back_as_far_as_the_rules_say_both_ends_told() -> None:
    # An hour before 3600 is 0, which counts; at 3601 it does not any more.
    alerts = [said(1, 0, caller=2), said(2, 3600), said(3, 3601)]
    calls = derive_calls(alerts, CallRules(repetition_seconds=HOUR))
    assert [call.callers_before for call in calls] == [0, 1, 0]


def test_alerts_of_one_instant_do_not_know_of_each_other() -> None:
    calls = derive_calls([said(1, 0, caller=1), said(2, 0, caller=2)], CallRules())
    assert [call.callers_before for call in calls] == [0, 0]


def test_buys_strengthen_buys_and_sells_sells() -> None:
    alerts = [
        said(1, 0, caller=1),
        said(2, 1, caller=2, signal_type=SignalType.EXIT),
        said(3, 2, caller=3, side=Side.SELL),
        said(4, 3, caller=4, signal_type=SignalType.SCALE_IN),
    ]
    assert [call.callers_before for call in derive_calls(alerts, CallRules())] == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("policy", list(CallPolicy))
def test_no_call_knows_of_an_alert_that_was_made_later(seed: int, policy: CallPolicy) -> None:
    """Calls of the first alerts are the same whatever is said afterwards, and in whatever order all came."""
    dice = random.Random(seed)  # noqa: S311 - a repeatable choice of cases
    alerts = [
        said(
            number,
            dice.randrange(4000),
            caller=dice.randrange(3),
            token=dice.randrange(3),
            signal_type=dice.choice(list(SignalType)),
            confidence=dice.choice([None, dice.random()]),
        )
        for number in range(60)
    ]
    rules = CallRules(policy=policy, cool_down_seconds=600, repetition_seconds=1200)
    calls = derive_calls(alerts, rules)
    cut = NOON + timedelta(seconds=2000)
    earlier = [alert for alert in alerts if alert.alert_timestamp <= cut]
    dice.shuffle(earlier)
    assert derive_calls(earlier, rules) == [call for call in calls if call.alert.alert_timestamp <= cut]
    assert len(calls) == 60


@pytest.mark.parametrize("field", ["cool_down_seconds", "repetition_seconds"])
@pytest.mark.parametrize("value", [-1, 10**9])
def test_times_out_of_bounds_are_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        CallRules(**{field: value})  # type: ignore[arg-type]


# --- chains ---


def test_an_address_is_on_the_one_chain_that_has_candles_of_it_and_never_guessed() -> None:
    addresses = [f"0x{number:040x}" for number in range(3)]
    placed = place_tokens(addresses, {addresses[0]: ["base"], addresses[1]: ["bsc", "base"]})
    one, two, none = (placed[TokenKey("unknown-evm", address)] for address in addresses)
    assert (one.token, one.reason) == (TokenKey("base", addresses[0]), None)
    assert two.token == TokenKey("unknown-evm", addresses[1])
    assert two.reason is not None
    assert "base, bsc" in two.reason
    assert none.token == TokenKey("unknown-evm", addresses[2])
    assert none.reason is not None
