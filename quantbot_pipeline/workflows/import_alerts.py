"""Alert files in, and calls out of alerts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quantbot_pipeline.ingest.alert_files import AlertFile, read_alert_file
from quantbot_pipeline.ingest.calls import classify_call
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import CallerKey, ImportRecord, InsertCounts, NewAlert, NewCall
from quantbot_pipeline.workflows.import_candles import ImportOutcome, file_sha256
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

ALERT_SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


def import_alert_files(
    paths: Sequence[Path],
    state: StateStore,
    *,
    source: str = "file",
    timezone: str | None = None,
    on_progress: ProgressListener = no_progress,
) -> list[ImportOutcome]:
    """Import alert files, each in one transaction and each once.

    Args:
        paths: CSV or JSON Lines files.
        state: Where alerts, tokens, callers and quarantined rows go.
        source: Where the callers are from, such as the name of a messenger or a group.
        timezone: IANA zone of naive timestamps; without it such rows are quarantined.
        on_progress: Told after each file.

    Raises:
        DataError: a file can't be read at all; files before it are stored, it and those after it are not.
    """
    outcomes = []
    for position, path in enumerate(paths, start=1):
        outcomes.append(_import_alert_file(path, state, source, timezone))
        on_progress(position, len(paths), path.name)
    return outcomes


def _import_alert_file(path: Path, state: StateStore, source: str, timezone: str | None) -> ImportOutcome:
    options_key = f"{source}|{timezone or ''}"
    known = state.find_import("alerts", file_sha256(path), options_key)
    if known is not None:
        return ImportOutcome(known, is_known=True)
    file = read_alert_file(path, source=source, timezone=timezone)
    record = ImportRecord(
        kind="alerts",
        file=path.name,
        sha256=file.sha256,
        options_key=options_key,
        rows_read=file.rows_read,
        rows_stored=len(file.alerts),
        rows_duplicate=file.duplicates,
        rows_quarantined=len(file.quarantined),
        details={},
        quarantined=file.quarantined,
    )
    counts = state.store_alerts(_new_alerts(file), record)
    return ImportOutcome(
        replace(record, rows_stored=counts.stored, rows_duplicate=file.duplicates + counts.duplicates),
        is_known=False,
    )


def _new_alerts(file: AlertFile) -> list[NewAlert]:
    return [
        NewAlert(
            token=alert.token,
            symbol=alert.symbol,
            caller=CallerKey(alert.source, alert.caller),
            side=alert.side,
            signal_type=alert.signal_type,
            confidence=alert.confidence,
            alert_price=alert.alert_price,
            alert_market_cap=alert.alert_market_cap,
            alert_timestamp=alert.alert_timestamp,
            content_key=alert.content_key,
            raw_payload=alert.raw,
        )
        for alert in file.alerts
    ]


def derive_calls(state: StateStore) -> InsertCounts:
    """Turn every alert that has no call yet into its call; again changes nothing."""
    calls = []
    for alert in state.load_alerts_without_call():
        side, signal_type = classify_call(alert.side, alert.signal_type)
        calls.append(
            NewCall(
                alert_id=alert.alert_id,
                token_id=alert.token_id,
                caller_id=alert.caller_id,
                side=side,
                signal_type=signal_type,
                signal_strength=alert.confidence,
                signal_timestamp=alert.alert_timestamp,
                metadata={},
            )
        )
    return state.insert_calls(calls)
