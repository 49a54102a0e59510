"""What call an alert becomes."""

import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.calls import classify_call


@pytest.mark.parametrize("signal_type", list(SignalType))
def test_a_sell_is_an_exit_whatever_its_signal_type(signal_type: SignalType) -> None:
    assert classify_call(Side.SELL, signal_type) == (Side.SELL, SignalType.EXIT)


def test_an_exit_is_a_sell() -> None:
    assert classify_call(Side.BUY, SignalType.EXIT) == (Side.SELL, SignalType.EXIT)


@pytest.mark.parametrize("signal_type", [SignalType.ENTRY, SignalType.SCALE_IN, SignalType.SCALE_OUT])
def test_a_buy_asks_for_what_its_signal_type_says(signal_type: SignalType) -> None:
    assert classify_call(Side.BUY, signal_type) == (Side.BUY, signal_type)
