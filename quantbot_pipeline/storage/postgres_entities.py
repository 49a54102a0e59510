"""Tokens, alerts and imports: what happens inside one Postgres transaction; callers and calls: `postgres_calls`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from quantbot_pipeline.errors import DataError, IntegrityError, StorageError
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.records import (
    CallerKey,
    ImportRecord,
    InsertCounts,
    NewAlert,
)

MAX_CALLER_VALUES = 100
"""Most names, and values of each attribute, that a caller's row keeps; every alert keeps its own row as read."""


def require_utc(moment: datetime, field: str) -> datetime:
    """Return a time in UTC.

    Raises:
        DataError: it is naive; Postgres would read it in the session's zone without a word.
    """
    if moment.tzinfo is None:
        raise DataError(f"{field} {moment.isoformat()} states no time zone; allowed are tz-aware datetimes")
    return moment.astimezone(UTC)


def upsert_tokens(transaction: PostgresTransaction, tokens: Mapping[TokenKey, str | None]) -> dict[TokenKey, int]:
    """Store tokens (key → symbol) and return their ids; see `StateStore.upsert_tokens`."""
    if not tokens:
        return {}
    _store_tokens(transaction, tokens)
    rows = transaction.fetch_rows("tokens/load_staged_token_ids")
    return {TokenKey(row["chain"], row["address"]): row["id"] for row in rows}


def store_alerts(
    transaction: PostgresTransaction, alerts: Sequence[NewAlert], record: ImportRecord | None
) -> InsertCounts:
    """Store alerts with tokens, callers and, where given, their import; see `StateStore.store_alerts`."""
    import_id, is_new_import = _insert_import(transaction, record) if record is not None else (None, False)
    stored = _insert_alerts(transaction, alerts, import_id) if alerts else 0
    counts = InsertCounts(stored=stored, duplicates=len(alerts) - stored)
    if record is not None and is_new_import:
        transaction.execute(
            "imports/set_counts",
            import_id=import_id,
            rows_stored=stored,
            rows_duplicate=record.rows_read - record.rows_quarantined - stored,
        )
        _complete(transaction, import_id, record)
    return counts


def find_import(transaction: PostgresTransaction, kind: str, sha256: str, options_key: str) -> ImportRecord | None:
    """Return a completed import with its quarantined rows; see `StateStore.find_import`."""
    row = transaction.fetch_row("imports/find_import", kind=kind, sha256=sha256, options_key=options_key)
    if row is None or row["status"] != "completed":
        return None
    quarantined = tuple(
        QuarantinedRow(**refused)
        for refused in transaction.fetch_rows("imports/load_quarantine", import_id=row["import_id"])
    )
    return _as_record(row, kind, sha256, options_key, quarantined)


def begin_import(transaction: PostgresTransaction, record: ImportRecord) -> ImportRecord:
    """Record an import as started, or return the one that was; see `StateStore.begin_import`."""
    import_id, _ = _insert_import(transaction, record)
    row = _load_import(transaction, record)
    is_read_alike = (row["rows_read"], row["rows_quarantined"]) == (record.rows_read, record.rows_quarantined)
    if row["status"] == "started" and not is_read_alike:
        # The reader changed between two attempts: what the dead one counted is not what this one will store.
        transaction.execute(
            "imports/replace_counts",
            import_id=import_id,
            rows_read=record.rows_read,
            rows_stored=record.rows_stored,
            rows_duplicate=record.rows_duplicate,
            rows_quarantined=record.rows_quarantined,
            details_json=to_json_text(record.details),
        )
        row = _load_import(transaction, record)
    return _as_record(row, record.kind, record.sha256, record.options_key, record.quarantined)


def complete_import(transaction: PostgresTransaction, record: ImportRecord) -> None:
    """Complete a started import and store its quarantined rows; see `StateStore.complete_import`."""
    row = _load_import(transaction, record)
    if row["status"] == "started":
        _check_counts(replace(record, rows_quarantined=row["rows_quarantined"]), check_sum=False)
        _complete(transaction, row["import_id"], record)


def _store_tokens(transaction: PostgresTransaction, tokens: Mapping[TokenKey, str | None]) -> None:
    transaction.execute("tokens/stage_tokens")
    transaction.copy_rows(
        "tokens/copy_staged_tokens",
        ((key.chain, key.address, None if symbol is None else storable_text(symbol)) for key, symbol in tokens.items()),
    )
    transaction.execute("tokens/upsert_tokens")


def _insert_alerts(transaction: PostgresTransaction, alerts: Sequence[NewAlert], import_id: int | None) -> int:
    symbols: dict[TokenKey, str | None] = {}
    for alert in alerts:
        # The last alert that names a symbol says what it is; one without a symbol takes nothing away.
        symbols[alert.token] = alert.symbol or symbols.get(alert.token)
    transaction.execute("alerts/lock_alerts")
    _store_tokens(transaction, symbols)
    transaction.execute("alerts/stage_alerts")
    transaction.copy_rows(
        "alerts/copy_staged_alerts",
        (
            (
                alert.token.chain,
                alert.token.address,
                storable_text(alert.caller.source),
                storable_text(alert.caller.handle),
                None if alert.caller_name is None else storable_text(alert.caller_name),
                alert.side.value,
                alert.signal_type.value,
                alert.confidence,
                alert.alert_price,
                alert.alert_market_cap,
                require_utc(alert.alert_timestamp, "alert_timestamp"),
                alert.content_key,
                None if alert.message_id is None else storable_text(alert.message_id),
                None if alert.chat_id is None else storable_text(alert.chat_id),
                alert.address_kind,
                to_json_text(alert.attributes),
                to_json_text(alert.raw_payload),
            )
            for alert in alerts
        ),
    )
    transaction.execute("callers/insert_staged_callers")
    transaction.execute("callers/name_staged_callers")
    _keep_caller_attributes(transaction, alerts)
    # Before the insert: what it fills were otherwise the rows of this very write.
    transaction.execute("alerts/fill_stored_alerts", import_id=import_id)
    return transaction.execute("alerts/insert_staged_alerts", import_id=import_id)


def _keep_caller_attributes(transaction: PostgresTransaction, alerts: Sequence[NewAlert]) -> None:
    """Add what alerts say about their callers to lists of what was said before."""
    said: dict[CallerKey, dict[str, dict[str, None]]] = {}
    for alert in alerts:
        if alert.caller_name is None and not alert.caller_attributes:
            continue
        key = CallerKey(storable_text(alert.caller.source), storable_text(alert.caller.handle))
        lists = said.setdefault(key, {})
        for name, value in (("names", alert.caller_name), *alert.caller_attributes.items()):
            if value is not None:
                lists.setdefault(name, {})[storable_text(value)] = None
    if not said:
        return
    changed: dict[int, str] = {}
    for row in transaction.fetch_rows("callers/lock_staged_callers"):
        known = row["attributes_json"]
        merged = {**known}
        for name, values in said.get(CallerKey(row["source"], row["handle"]), {}).items():
            kept = list(known.get(name, ()))
            room = MAX_CALLER_VALUES - len(kept)
            merged[name] = kept + [value for value in values if value not in kept][: max(room, 0)]
        if merged != known:
            changed[row["caller_id"]] = to_json_text(merged)
    if changed:
        transaction.execute("callers/set_attributes", caller_ids=list(changed), attributes=list(changed.values()))


def _insert_import(transaction: PostgresTransaction, record: ImportRecord) -> tuple[int, bool]:
    """Insert an import as started unless its key is known; return its id and whether it is new."""
    _check_counts(record)
    inserted = transaction.execute(
        "imports/insert_import",
        kind=record.kind,
        file=storable_text(record.file),
        sha256=record.sha256,
        options_key=record.options_key,
        rows_read=record.rows_read,
        rows_stored=record.rows_stored,
        rows_duplicate=record.rows_duplicate,
        rows_quarantined=record.rows_quarantined,
        details_json=to_json_text(record.details),
    )
    row = _load_import(transaction, record)
    return row["import_id"], inserted == 1 or row["status"] == "started"


def _load_import(transaction: PostgresTransaction, record: ImportRecord) -> dict[str, Any]:
    row = transaction.fetch_row(
        "imports/find_import", kind=record.kind, sha256=record.sha256, options_key=record.options_key
    )
    if row is None:
        raise StorageError(
            f"import of {record.kind} file {record.file!r} (sha256 {record.sha256[:12]}…) was never begun; "
            "begin_import comes before complete_import"
        )
    return row


def _complete(transaction: PostgresTransaction, import_id: int | None, record: ImportRecord) -> None:
    # Of two processes that complete one import, the update lets one through: rows are kept once.
    if transaction.execute("imports/complete_import", import_id=import_id) == 0:
        return
    transaction.copy_rows(
        "imports/copy_quarantine",
        (
            (
                import_id,
                storable_text(row.file),
                row.line,
                row.field,
                storable_text(row.reason),
                storable_text(row.raw_text),
            )
            for row in record.quarantined
        ),
    )


def _check_counts(record: ImportRecord, *, check_sum: bool = True) -> None:
    place = f"import of {record.kind} file {record.file!r}"
    total = record.rows_stored + record.rows_duplicate + record.rows_quarantined
    if check_sum and record.rows_read != total:
        raise IntegrityError(
            f"{place}: {record.rows_read} rows were read, but {record.rows_stored} stored + "
            f"{record.rows_duplicate} duplicate + {record.rows_quarantined} quarantined are {total}; "
            "a row was lost or counted twice, nothing was recorded"
        )
    if len(record.quarantined) != record.rows_quarantined:
        raise IntegrityError(
            f"{place}: {record.rows_quarantined} rows are counted as quarantined, but "
            f"{len(record.quarantined)} are given to be kept; nothing was recorded"
        )


def _as_record(
    row: Mapping[str, Any],
    kind: str,
    sha256: str,
    options_key: str,
    quarantined: tuple[QuarantinedRow, ...],
) -> ImportRecord:
    return ImportRecord(
        kind=kind,
        file=row["file"],
        sha256=sha256,
        options_key=options_key,
        rows_read=row["rows_read"],
        rows_stored=row["rows_stored"],
        rows_duplicate=row["rows_duplicate"],
        rows_quarantined=row["rows_quarantined"],
        details=row["details_json"],
        quarantined=quarantined,
    )
