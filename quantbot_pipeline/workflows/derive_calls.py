"""Calls out of alerts: the rules of `ingest.calls` on everything that is stored."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.ingest.calls import (
    AlertFacts,
    CallPolicy,
    CallRules,
    DerivedCall,
    PlacedToken,
    place_tokens,
)
from quantbot_pipeline.ingest.calls import derive_calls as apply_rules
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, UNKNOWN_EVM_CHAIN, TokenKey
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import AlertRow, DerivationCounts, NewCall

# Addresses in one question to ClickHouse: some 45 kB of parameters.
_ADDRESSES_PER_QUERY = 1000


@dataclass(frozen=True, slots=True)
class UnplacedToken:
    """A 0x address that alerts name and that can't be said to be on one chain.

    Attributes:
        address: The address.
        alert_count: Alerts on it that name no chain.
        reason: Why it can't be said.
    """

    address: str
    alert_count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Derivation:
    """What a derivation did.

    Attributes:
        rules: By which rules.
        counts: What it changed.
        unplaced: Addresses whose calls stay on `unknown-evm`, by address.
    """

    rules: CallRules
    counts: DerivationCounts
    unplaced: tuple[UnplacedToken, ...]


def choose_rules(
    state: StateStore,
    settings: Settings | None = None,
    *,
    policy: CallPolicy | None = None,
    cool_down_seconds: int | None = None,
    repetition_seconds: int | None = None,
) -> CallRules:
    """Return the rules to derive by: what is given, else set, else in force since the last derivation, else defaults.

    Raises:
        ConfigError: a number of seconds is out of bounds.
    """
    in_force = state.load_call_rules() or {}
    given = {
        "policy": policy,
        "cool_down_seconds": cool_down_seconds,
        "repetition_seconds": repetition_seconds,
    }
    chosen: dict[str, Any] = {name: in_force[name] for name in given if name in in_force}
    if settings is not None:
        chosen |= _known_values(
            {
                "policy": settings.calls_policy,
                "cool_down_seconds": settings.calls_cool_down,
                "repetition_seconds": settings.calls_repetition,
            }
        )
    chosen |= _known_values(given)
    if "policy" in chosen:
        chosen["policy"] = CallPolicy(chosen["policy"])
    return CallRules(**chosen)


def _known_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def derive_calls(state: StateStore, history: HistoryStore, rules: CallRules | None = None) -> Derivation:
    """Make the stored calls what the rules say of the stored alerts; again changes nothing.

    ClickHouse's mirror of calls is written anew, and that of runs where some were retired.

    Args:
        state: Where alerts and calls are.
        history: Where candles are, which tell the chain of a 0x address that alerts leave open.
        rules: The rules; those in force if None.
    """
    rules = rules or choose_rules(state)
    open_addresses = {
        row["address"]: row["alert_count"] for row in state.read("alerts/load_unplaced_tokens").to_pylist()
    }
    placed = place_tokens(list(open_addresses), _chains_of(list(open_addresses), history))
    found = {place.token for place in placed.values() if place.reason is None}
    token_ids = state.upsert_tokens(dict.fromkeys(sorted(found)))
    counts = state.derive_calls(rules.as_document(), _derivation(rules, placed, token_ids))
    # Whatever the counts: prices and symbols that alerts now say are no part of calls, and a derivation that could not
    # mirror what it changed is not told from one that changed nothing.
    history.publish(state.load_published_runs() if counts.runs_retired else None, state.load_published_calls())
    unplaced = tuple(
        UnplacedToken(token.address, open_addresses[token.address], place.reason)
        for token, place in placed.items()
        if place.reason is not None
    )
    return Derivation(rules, counts, unplaced)


def _chains_of(addresses: Sequence[str], history: HistoryStore) -> Mapping[str, Sequence[str]]:
    """Return the EVM chains on which candles of each address are stored."""
    chains: dict[str, list[str]] = defaultdict(list)
    evm_chains = sorted(EVM_CHAINS - {UNKNOWN_EVM_CHAIN})
    for start in range(0, len(addresses), _ADDRESSES_PER_QUERY):
        part = list(addresses[start : start + _ADDRESSES_PER_QUERY])
        for row in history.read("candles/find_chains", chains=evm_chains, addresses=part).to_pylist():
            chains[row["token_address"]].append(row["chain"])
    return chains


def _derivation(
    rules: CallRules, placed: Mapping[TokenKey, PlacedToken], token_ids: Mapping[TokenKey, int]
) -> Callable[[Sequence[AlertRow]], list[NewCall]]:
    """Return the function that gives the calls of all alerts."""

    def token_id_of(alert: AlertRow) -> int:
        place = placed.get(alert.token)
        return alert.token_id if place is None or place.reason is not None else token_ids[place.token]

    def derive(alerts: Sequence[AlertRow]) -> list[NewCall]:
        rows = {alert.alert_id: alert for alert in alerts}
        facts = (
            AlertFacts(
                alert_id=alert.alert_id,
                token_id=token_id_of(alert),
                caller_id=alert.canonical_caller_id,
                side=alert.side,
                signal_type=alert.signal_type,
                confidence=alert.confidence,
                alert_timestamp=alert.alert_timestamp,
            )
            for alert in alerts
        )
        return [_new_call(call, rules, rows[call.alert.alert_id].token, placed) for call in apply_rules(facts, rules)]

    return derive


def _new_call(
    call: DerivedCall, rules: CallRules, said_token: TokenKey, placed: Mapping[TokenKey, PlacedToken]
) -> NewCall:
    alert = call.alert
    metadata: dict[str, Any] = {
        "confidence": alert.confidence,
        "callers_before": call.callers_before,
        "alerts_before": call.alerts_before,
        "repetition_seconds": rules.repetition_seconds,
    }
    place = placed.get(said_token)
    if place is not None:
        metadata["chain"] = "found by its candles" if place.reason is None else place.reason
    return NewCall(
        alert_id=alert.alert_id,
        token_id=alert.token_id,
        caller_id=alert.caller_id,
        side=call.side,
        signal_type=call.signal_type,
        signal_strength=call.signal_strength,
        signal_timestamp=alert.alert_timestamp,
        metadata=metadata,
        inactive_reason=call.inactive_reason,
    )
