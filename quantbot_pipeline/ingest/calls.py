"""The rules that turn alerts into calls: all of them, and nowhere else (explained in docs/ingest-calls.md).

Every alert becomes one call. The rules say what it asks for, how strong it is, and whether it is in force: a
repetition may be none. They look back and never ahead: what a call says follows from alerts that were made before
it, so an alert that is made later changes no earlier call. (One that is imported later and was made earlier does.)
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, UNKNOWN_EVM_CHAIN, TokenKey

UNSAID_CONFIDENCE = 0.5
"""What an alert without confidence counts as: as likely as not."""

_LONGEST = 366 * 86_400


class CallPolicy(StrEnum):
    """Which entry alerts of one caller on one token are calls."""

    EVERY = "every"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class CallRules:
    """What can be set.

    Attributes:
        policy: Every entry alert of a caller on a token, or the first alone.
        cool_down_seconds: How long after an entry call another entry alert of that caller on that token is no
            call; 0 for no such time. 0 to 366 days.
        repetition_seconds: How far back alerts on the same token strengthen a call; 0 to 366 days.
    """

    policy: CallPolicy = CallPolicy.EVERY
    cool_down_seconds: int = 0
    repetition_seconds: int = 86_400

    def __post_init__(self) -> None:
        for name in ("cool_down_seconds", "repetition_seconds"):
            value = getattr(self, name)
            if not 0 <= value <= _LONGEST:
                raise ConfigError(f"{name} is {value}; allowed are 0 to {_LONGEST} seconds (366 days)")

    def as_document(self) -> dict[str, Any]:
        """Return the rules as a JSON document."""
        return {**asdict(self), "policy": self.policy.value}


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What the rules look at.

    Attributes:
        alert_id: Identity; decides between alerts of one instant.
        token_id: The token that the call is on.
        caller_id: Who made it, aliases followed.
        side: Direction, as the alert says.
        signal_type: What it asks for, as the alert says.
        confidence: As the alert states it; None if it does not.
        alert_timestamp: When it was made, tz-aware.
    """

    alert_id: int
    token_id: int
    caller_id: int
    side: Side
    signal_type: SignalType
    confidence: float | None
    alert_timestamp: datetime


@dataclass(frozen=True, slots=True)
class DerivedCall:
    """What the rules make of one alert.

    Attributes:
        alert: The alert.
        side: Direction of the call.
        signal_type: What the call asks for.
        signal_strength: In [0, 1], see `signal_strength`.
        callers_before: Other callers who said the same of the token within the time that counts.
        alerts_before: Alerts that did, those of the same caller included.
        inactive_reason: Why it is not in force; None if it is.
    """

    alert: AlertFacts
    side: Side
    signal_type: SignalType
    signal_strength: float
    callers_before: int
    alerts_before: int
    inactive_reason: str | None


def classify_call(side: Side, signal_type: SignalType) -> tuple[Side, SignalType]:
    """Return the side and signal type of the call that an alert becomes.

    A sell is an exit, whatever its signal type, and an exit is a sell: these are spot tokens, so a sell is
    never a short. Everything else stays as the alert says. A `scale_out` keeps the side `buy`, the direction
    of the trade that it trims; as a sell it would end the trade.
    """
    if side is Side.SELL or signal_type is SignalType.EXIT:
        return Side.SELL, SignalType.EXIT
    return side, signal_type


def signal_strength(confidence: float | None, callers_before: int) -> float:
    """Return how strong a call is, in [0, 1].

    Each other caller who said the same before halves what is missing to certainty: a confidence of 0.6 is 0.6
    alone, 0.8 after one other, 0.9 after two.

    Args:
        confidence: As stated, clipped to [0, 1]; None counts as `UNSAID_CONFIDENCE`.
        callers_before: Other callers who said the same before, >= 0.
    """
    stated = UNSAID_CONFIDENCE if confidence is None else min(max(confidence, 0.0), 1.0)
    return 1.0 - (1.0 - stated) * 0.5**callers_before


def derive_calls(alerts: Iterable[AlertFacts], rules: CallRules) -> list[DerivedCall]:
    """Return what the rules make of alerts: one call per alert, oldest first, active or not.

    Args:
        alerts: All alerts, in any order.
        rules: The rules.
    """
    ordered = sorted(alerts, key=attrgetter("alert_timestamp", "alert_id"))
    repetition = _Repetition(timedelta(seconds=rules.repetition_seconds))
    entries = _Entries(rules)
    calls = []
    for _, of_one_instant in groupby(ordered, key=attrgetter("alert_timestamp")):
        # Alerts of one instant do not know of each other.
        together = [(alert, *classify_call(alert.side, alert.signal_type)) for alert in of_one_instant]
        for alert, side, signal_type in together:
            callers_before, alerts_before = repetition.before(alert, signal_type)
            calls.append(
                DerivedCall(
                    alert=alert,
                    side=side,
                    signal_type=signal_type,
                    signal_strength=signal_strength(alert.confidence, callers_before),
                    callers_before=callers_before,
                    alerts_before=alerts_before,
                    inactive_reason=entries.refuse(alert) if signal_type is SignalType.ENTRY else None,
                )
            )
        for alert, _, signal_type in together:
            repetition.add(alert, signal_type)
    return calls


class _Repetition:
    """Who said the same of a token within a time before; buys (entries and scale-ins) and sells are apart."""

    def __init__(self, reach: timedelta) -> None:
        self._reach = reach
        self._said: dict[tuple[int, bool], deque[AlertFacts]] = {}
        self._callers: dict[tuple[int, bool], Counter[int]] = {}

    def before(self, alert: AlertFacts, signal_type: SignalType) -> tuple[int, int]:
        """Return (other callers, alerts) that said the same within the reach before an alert."""
        key = self._key(alert, signal_type)
        said = self._said.get(key)
        if not said:
            return 0, 0
        callers = self._callers[key]
        earliest = alert.alert_timestamp - self._reach
        while said and said[0].alert_timestamp < earliest:
            gone = said.popleft().caller_id
            callers[gone] -= 1
            if not callers[gone]:
                del callers[gone]
        return len(callers) - (alert.caller_id in callers), len(said)

    def add(self, alert: AlertFacts, signal_type: SignalType) -> None:
        key = self._key(alert, signal_type)
        self._said.setdefault(key, deque()).append(alert)
        self._callers.setdefault(key, Counter())[alert.caller_id] += 1

    @staticmethod
    def _key(alert: AlertFacts, signal_type: SignalType) -> tuple[int, bool]:
        return alert.token_id, signal_type in (SignalType.ENTRY, SignalType.SCALE_IN)


class _Entries:
    """Which entry alerts are calls, given those before them."""

    def __init__(self, rules: CallRules) -> None:
        self._is_first_alone = rules.policy is CallPolicy.FIRST
        self._cool_down = timedelta(seconds=rules.cool_down_seconds)
        self._last: dict[tuple[int, int], AlertFacts] = {}

    def refuse(self, alert: AlertFacts) -> str | None:
        """Return why an entry alert is no call; None if it is one, which is then remembered."""
        key = (alert.token_id, alert.caller_id)
        last = self._last.get(key)
        if last is not None:
            if self._is_first_alone:
                return f"not the caller's first entry call on the token, which is that of alert {last.alert_id}"
            if alert.alert_timestamp - last.alert_timestamp < self._cool_down:
                return (
                    f"within {int(self._cool_down.total_seconds())} s after the caller's entry call on the token of "
                    f"alert {last.alert_id}"
                )
        self._last[key] = alert
        return None


@dataclass(frozen=True, slots=True)
class PlacedToken:
    """On which chain a 0x address is that nobody placed on one.

    Attributes:
        token: The token; on `unknown-evm` still if that can't be said.
        reason: Why it can't be said; None if it can.
    """

    token: TokenKey
    reason: str | None


def place_tokens(addresses: Sequence[str], chains_of: Mapping[str, Sequence[str]]) -> dict[TokenKey, PlacedToken]:
    """Return which token each 0x address without a chain is: the one that exactly one source of candles knows.

    Args:
        addresses: Addresses in lower case.
        chains_of: EVM chains on which candles of an address are stored, by address.
    """
    placed = {}
    for address in addresses:
        known = sorted({chain for chain in chains_of.get(address, ()) if chain in EVM_CHAINS - {UNKNOWN_EVM_CHAIN}})
        unknown = TokenKey(UNKNOWN_EVM_CHAIN, address)
        if len(known) == 1:
            placed[unknown] = PlacedToken(TokenKey(known[0], address), None)
        elif known:
            reason = f"candles are stored of this address on {', '.join(known)}; the alert does not say which it means"
            placed[unknown] = PlacedToken(unknown, reason)
        else:
            placed[unknown] = PlacedToken(unknown, "no candles are stored of this address on any EVM chain")
    return placed
