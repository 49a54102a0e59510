"""The rule that turns an alert into a call."""

from quantbot_pipeline.engine.calls import Side, SignalType


def classify_call(side: Side, signal_type: SignalType) -> SignalType:
    """Return what the call of an alert asks for.

    A sell is an exit, whatever its signal type: these are spot tokens, so it is never a short, and the
    engine reads a call with `side = sell` as an exit. A buy asks for what its signal type says.
    """
    return SignalType.EXIT if side is Side.SELL else signal_type
