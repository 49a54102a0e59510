"""The rule that turns an alert into a call."""

from quantbot_pipeline.engine.calls import Side, SignalType


def classify_call(side: Side, signal_type: SignalType) -> tuple[Side, SignalType]:
    """Return the side and signal type of the call that an alert becomes.

    A sell is an exit, whatever its signal type, and an exit is a sell: these are spot tokens, so a sell is
    never a short. Everything else stays as the alert says. A `scale_out` keeps the side `buy`, the direction
    of the trade that it trims; as a sell it would end the trade.
    """
    if side is Side.SELL or signal_type is SignalType.EXIT:
        return Side.SELL, SignalType.EXIT
    return side, signal_type
