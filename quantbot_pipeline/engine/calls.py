"""Calls, as the engine reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

NO_SCORES: Mapping[str, float] = MappingProxyType({})
"""The scores of a call that no model said anything of."""


class Side(StrEnum):
    """Direction of a call."""

    BUY = "buy"
    SELL = "sell"


class SignalType(StrEnum):
    """What a call asks for."""

    ENTRY = "entry"
    EXIT = "exit"
    SCALE_IN = "scale_in"
    SCALE_OUT = "scale_out"


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the token whose candles it is simulated on.

    Attributes:
        call_id: Identity of the call; unique among the calls of one simulation.
        caller_id: Identity of who made it; exit and scale calls act on trades of the same caller.
        signal_timestamp: When it was made, whole seconds since the epoch, UTC (fractions are rounded up,
            so that nothing happens before the call was known).
        signal_type: What it asks for.
        side: Direction; a `sell` is an exit, whatever its signal type, except a `scale_out`, which sells a
            part whatever its side.
        scores: What models that had learned before the call say of it, by name of the model; conditions of strategies
            on scores read them.
    """

    call_id: int
    caller_id: int
    signal_timestamp: int
    signal_type: SignalType = SignalType.ENTRY
    side: Side = Side.BUY
    scores: Mapping[str, float] = field(default_factory=lambda: NO_SCORES, hash=False)
