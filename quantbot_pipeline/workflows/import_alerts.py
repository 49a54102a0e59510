"""Alert files in: each in one transaction, each once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from quantbot_pipeline.ingest.alert_files import AlertFile, read_alert_file
from quantbot_pipeline.ingest.source_files import file_sha256
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import CallerKey, ImportRecord, NewAlert
from quantbot_pipeline.workflows.import_candles import ImportOutcome
from quantbot_pipeline.workflows.import_reasons import ReasonCounts
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress


@dataclass(frozen=True, slots=True)
class AlertImportOptions:
    """What an import says about its files; see `ingest.alert_files.read_alert_file`.

    Attributes:
        source: Where the callers are from, such as a messenger or a group; part of their identity.
        timezone: IANA zone of times that state none; without it such rows are quarantined.
        chain: Chain of 0x addresses and pair names that nothing else places on one.
        caller: Caller of rows that name none.
        chat: Chat of messages that name none.
        columns: Field by column, for columns that are not known by name.
        mints_of_pools: Token address by pool address.
        bots: Names or ids of the bots that answer calls; the known ones if None.
        now: The present, for alerts of the future; the clock's if None. Part of no key.
    """

    source: str = "file"
    timezone: str | None = None
    chain: str | None = None
    caller: str | None = None
    chat: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    mints_of_pools: Mapping[str, str] = field(default_factory=dict)
    bots: tuple[str, ...] | None = None
    now: datetime | None = None

    @property
    def key(self) -> str:
        """Text that is equal for options that read a file alike."""
        key = f"{self.source}|{self.timezone or ''}"
        further = {
            "chain": self.chain,
            "caller": self.caller,
            "chat": self.chat,
            "columns": dict(sorted(self.columns.items())),
            # Thousands of pools make one short text.
            "pools": _digest(self.mints_of_pools) if self.mints_of_pools else None,
            "bots": None if self.bots is None else sorted(self.bots),
        }
        given = {name: value for name, value in further.items() if value not in (None, {})}
        # Without further options it is the key of imports that were made before there were any.
        return f"{key}|{json.dumps(given, sort_keys=True)}" if given else key

    def read(self, path: Path) -> AlertFile:
        """Read a file with these options.

        Raises:
            DataError: it can't be read, or an option is not usable.
        """
        return read_alert_file(
            path,
            source=self.source,
            timezone=self.timezone,
            chain=self.chain,
            caller=self.caller,
            chat=self.chat,
            columns=self.columns,
            mints_of_pools=self.mints_of_pools,
            bots=self.bots,
            now=self.now or datetime.now(UTC),
        )


def import_alert_files(
    paths: Sequence[Path],
    state: StateStore,
    *,
    options: AlertImportOptions | None = None,
    on_progress: ProgressListener = no_progress,
) -> list[ImportOutcome]:
    """Import alert files, each in one transaction and each once.

    An alert that is stored already counts as duplicate; it keeps what it says, and what it left open is filled.

    Args:
        paths: Files of the kinds of `find_files.ALERT_SUFFIXES`.
        state: Where alerts, tokens, callers and quarantined rows go.
        options: What the files do not say themselves.
        on_progress: Told after each file.

    Raises:
        DataError: a file can't be read at all; files before it are stored, it and those after it are not.
    """
    options = options or AlertImportOptions()
    outcomes = []
    for position, path in enumerate(paths, start=1):
        outcomes.append(import_alert_file(path, state, options))
        on_progress(position, len(paths), path.name)
    return outcomes


def import_alert_file(
    path: Path, state: StateStore, options: AlertImportOptions, *, shown_as: str | None = None
) -> ImportOutcome:
    """Import one alert file, once.

    Args:
        path: The file.
        state: Where its rows go.
        options: What it does not say itself.
        shown_as: The file's name in quarantine, where it lies elsewhere for the time of its import.

    Raises:
        DataError: it can't be read at all; nothing is stored.
    """
    known = state.find_import("alerts", file_sha256(path), options.key)
    if known is not None:
        return ImportOutcome(known, is_known=True)
    file = options.read(path)
    quarantined = file.quarantined
    if shown_as is not None:
        quarantined = tuple(replace(row, file=shown_as) for row in quarantined)
    reasons = ReasonCounts()
    reasons.add(quarantined)
    record = ImportRecord(
        kind="alerts",
        file=path.name,
        sha256=file.sha256,
        options_key=options.key,
        rows_read=file.rows_read,
        rows_stored=len(file.alerts),
        rows_duplicate=file.duplicates,
        rows_quarantined=len(quarantined),
        details={"notes": list(file.notes), "reasons": reasons.largest()},
        quarantined=quarantined,
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
            caller_name=alert.caller_name,
            caller_attributes=alert.caller_attributes,
            message_id=alert.message_id,
            chat_id=alert.chat_id,
            address_kind=alert.address_kind.value,
            attributes=alert.attributes,
        )
        for alert in file.alerts
    ]


def _digest(pools: Mapping[str, str]) -> str:
    return sha256(json.dumps(sorted(pools.items())).encode()).hexdigest()
