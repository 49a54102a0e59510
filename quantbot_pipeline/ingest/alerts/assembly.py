"""Counting rows: every row read becomes an alert, a duplicate of one, or a quarantined row, and never two of them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantbot_pipeline.ingest.alerts.records import AlertFile, ParsedAlert, RowRefusal
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, storable_text
from quantbot_pipeline.ingest.tokens import UNKNOWN_EVM_CHAIN, TokenKey

MAX_NOTES = 20
"""Most notes that one alert keeps."""


class AlertAssembly:
    """Collects the rows of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._alerts: dict[str, ParsedAlert] = {}
        self._quarantined: list[QuarantinedRow] = []
        self._rows_read = 0
        self._duplicates = 0

    def refuse(self, line: int, refusal: RowRefusal, raw_text: str) -> None:
        """Count a row that can't be used."""
        self._rows_read += 1
        self._quarantined.append(
            QuarantinedRow(self._file, line, refusal.field, storable_text(refusal.reason), storable_text(raw_text))
        )

    def add(self, alert: ParsedAlert) -> None:
        """Count an alert; one whose key is there already is a duplicate, and tells it what it did not know."""
        self._rows_read += 1
        known = self._alerts.get(alert.content_key)
        if known is None:
            self._alerts[alert.content_key] = alert
            return
        self._duplicates += 1
        self._alerts[alert.content_key] = _merged(known, alert)

    def answer(
        self,
        key: str,
        *,
        price: float | None = None,
        market_cap: float | None = None,
        symbol: str | None = None,
        chain: str | None = None,
        notes: Iterable[str] = (),
    ) -> None:
        """Count a bot's answer to an alert as its duplicate, and tell the alert what it did not know.

        Args:
            key: Content key of an alert that was added.
            price: Price that the bot states.
            market_cap: Market cap that it states.
            symbol: Ticker that it states.
            chain: EVM chain that it states.
            notes: What to keep with the alert.
        """
        self._rows_read += 1
        self._duplicates += 1
        alert = self._alerts[key]
        token = alert.token
        if chain is not None and token.chain == UNKNOWN_EVM_CHAIN:
            token = TokenKey(chain, token.address)
        self._alerts[key] = replace(
            alert,
            token=token,
            alert_price=alert.alert_price if alert.alert_price is not None else price,
            alert_market_cap=alert.alert_market_cap if alert.alert_market_cap is not None else market_cap,
            symbol=alert.symbol or symbol,
            attributes=with_notes(alert.attributes, notes),
        )

    def holds(self, key: str) -> bool:
        """Return whether an alert of this content key was added."""
        return key in self._alerts

    def finish(self, path: Path, sha256: str) -> AlertFile:
        """Return what the file held."""
        return AlertFile(
            path=path,
            sha256=sha256,
            rows_read=self._rows_read,
            alerts=tuple(self._alerts.values()),
            duplicates=self._duplicates,
            quarantined=tuple(sorted(self._quarantined, key=lambda row: row.line)),
        )


def with_notes(attributes: Any, notes: Iterable[str]) -> dict[str, Any]:
    """Return attributes with further notes, each once."""
    result = dict(attributes)
    kept = list(result.get("notes", ()))
    for note in notes:
        if note not in kept and len(kept) < MAX_NOTES:
            kept.append(note)
    if kept:
        result["notes"] = kept
    return result


def _merged(known: ParsedAlert, other: ParsedAlert) -> ParsedAlert:
    notes = list(other.attributes.get("notes", ()))
    for name, kept, found in (
        ("price", known.alert_price, other.alert_price),
        ("market cap", known.alert_market_cap, other.alert_market_cap),
        ("symbol", known.symbol, other.symbol),
        ("time", known.alert_timestamp.isoformat(), other.alert_timestamp.isoformat()),
        ("caller", known.caller, other.caller),
    ):
        if kept is not None and found is not None and kept != found:
            notes.append(f"line {other.line} states another {name}: {found!r}")
    token = known.token
    if token.chain == UNKNOWN_EVM_CHAIN:
        token = other.token
    elif other.token.chain not in (UNKNOWN_EVM_CHAIN, token.chain):
        notes.append(f"line {other.line} states another chain: {other.token.chain!r}")
    if other.alert_timestamp > known.alert_timestamp:
        # An edit, or a later row of the same message: its figures were not known at the alert.
        return replace(known, token=token, attributes=with_notes(known.attributes, notes))
    return replace(
        known,
        token=token,
        alert_price=known.alert_price if known.alert_price is not None else other.alert_price,
        alert_market_cap=known.alert_market_cap if known.alert_market_cap is not None else other.alert_market_cap,
        symbol=known.symbol or other.symbol,
        confidence=known.confidence if known.confidence is not None else other.confidence,
        attributes=with_notes({**other.attributes, **known.attributes}, notes),
    )
