"""Callers, aliases and calls: what happens inside one Postgres transaction."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import InputError, IntegrityError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.postgres_entities import require_utc
from quantbot_pipeline.storage.records import (
    AlertRow,
    CallerKey,
    CallerRow,
    CallRow,
    DerivationCounts,
    NewCall,
)


def load_callers(transaction: PostgresTransaction) -> list[CallerRow]:
    """Return all callers by (source, handle)."""
    return [
        CallerRow(
            caller_id=row["caller_id"],
            caller=CallerKey(row["source"], row["handle"]),
            display_name=row["display_name"],
            alias_of_id=row["alias_of_id"],
            canonical_caller_id=row["canonical_caller_id"],
            alert_count=row["alert_count"],
            call_count=row["call_count"],
            first_alert_at=row["first_alert_at"],
            last_alert_at=row["last_alert_at"],
        )
        for row in transaction.fetch_rows("callers/load_callers")
    ]


def set_caller_alias(transaction: PostgresTransaction, caller_id: int, canonical_caller_id: int) -> bool:
    """Say that a caller is another one; see `StateStore.set_caller_alias`."""
    transaction.execute("callers/lock_aliases")
    chain = transaction.fetch_rows("callers/load_alias_chain", caller_id=canonical_caller_id)
    if any(row["caller_id"] == caller_id for row in chain):
        names = [f"{row['source']}/{row['handle']}" for row in chain]
        end = names[[row["caller_id"] for row in chain].index(caller_id)]
        circle = " -> ".join([end, *names[: names.index(end) + 1]])
        raise InputError(
            f"{end} can't be an alias of {names[0]}: that would close the circle {circle}; "
            "take an alias of it away first, with 'quantbot callers unalias'"
        )
    return transaction.execute("callers/set_alias", caller_id=caller_id, canonical_caller_id=canonical_caller_id) > 0


def remove_caller_alias(transaction: PostgresTransaction, caller_id: int) -> bool:
    """Say that a caller is itself again; see `StateStore.remove_caller_alias`."""
    transaction.execute("callers/lock_aliases")
    return transaction.execute("callers/remove_alias", caller_id=caller_id) > 0


def load_call_rules(transaction: PostgresTransaction) -> Mapping[str, Any] | None:
    """Return the rules in force, or None."""
    row = transaction.fetch_row("calls/load_rules")
    rules: Mapping[str, Any] | None = None if row is None else row["rules_json"]
    return rules


def derive_calls(
    transaction: PostgresTransaction,
    rules: Mapping[str, Any],
    derive: Callable[[Sequence[AlertRow]], Sequence[NewCall]],
) -> DerivationCounts:
    """Make the calls what `derive` says of all alerts; see `StateStore.derive_calls`."""
    transaction.execute("calls/lock_calls")
    alerts = [_as_alert(row) for row in transaction.fetch_rows("alerts/load_alerts")]
    calls = derive(alerts)
    _require_one_call_per_alert(alerts, calls)
    transaction.execute("calls/stage_calls")
    transaction.copy_rows("calls/copy_staged_calls", map(_staged, calls))
    transaction.execute("calls/stage_changed_calls")
    found = transaction.fetch_row("calls/count_changed_calls") or {}
    touched = found["touched"] and transaction.execute("calls/update_changed_calls")
    new = transaction.execute("calls/insert_new_calls")
    retired = transaction.execute("calls/retire_runs") if touched else 0
    total = transaction.fetch_row("calls/count_calls") or {}
    counts = DerivationCounts(
        new=new,
        changed=found["changed"],
        deactivated=found["deactivated"],
        reactivated=found["reactivated"],
        active=total["active"],
        inactive=total["inactive"],
        runs_retired=retired,
    )
    if new or touched or load_call_rules(transaction) != rules:
        transaction.execute(
            "calls/insert_derivation", rules_json=to_json_text(rules), counts_json=to_json_text(counts._asdict())
        )
    return counts


def load_calls(
    transaction: PostgresTransaction,
    tokens: Collection[TokenKey] | None,
    start: datetime | None,
    end: datetime | None,
) -> list[CallRow]:
    """Return active calls of a window, of all tokens or of those given; see `StateStore.load_calls`."""
    rows = transaction.fetch_rows(
        "calls/load_calls",
        chains=None if tokens is None else [token.chain for token in tokens],
        addresses=None if tokens is None else [token.address for token in tokens],
        start=None if start is None else require_utc(start, "start"),
        end=None if end is None else require_utc(end, "end"),
    )
    return [
        CallRow(
            call_id=row["call_id"],
            token_id=row["token_id"],
            token=TokenKey(row["chain"], row["address"]),
            caller_id=row["caller_id"],
            caller=CallerKey(row["source"], row["handle"]),
            side=Side(row["side"]),
            signal_type=SignalType(row["signal_type"]),
            signal_timestamp=row["signal_timestamp"],
            alert_price=row["alert_price"],
            alert_market_cap=row["alert_market_cap"],
        )
        for row in rows
    ]


def _as_alert(row: Mapping[str, Any]) -> AlertRow:
    return AlertRow(
        alert_id=row["alert_id"],
        token_id=row["token_id"],
        token=TokenKey(row["chain"], row["address"]),
        caller_id=row["caller_id"],
        canonical_caller_id=row["canonical_caller_id"],
        side=Side(row["side"]),
        signal_type=SignalType(row["signal_type"]),
        confidence=row["confidence"],
        alert_timestamp=row["alert_timestamp"],
    )


def _staged(call: NewCall) -> tuple[Any, ...]:
    return (
        call.alert_id,
        call.token_id,
        call.caller_id,
        call.side.value,
        call.signal_type.value,
        call.signal_strength,
        require_utc(call.signal_timestamp, "signal_timestamp"),
        to_json_text(call.metadata),
        None if call.inactive_reason is None else storable_text(call.inactive_reason),
    )


def _require_one_call_per_alert(alerts: Sequence[AlertRow], calls: Sequence[NewCall]) -> None:
    given = [call.alert_id for call in calls]
    if len(given) != len(alerts) or set(given) != {alert.alert_id for alert in alerts}:
        raise IntegrityError(
            f"{len(alerts)} alerts gave {len(given)} calls of {len(set(given))} alerts; every alert has exactly one, "
            "active or not; nothing was changed"
        )
