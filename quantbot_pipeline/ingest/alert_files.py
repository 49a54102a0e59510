"""Alert files in, typed alerts out: CSV and JSON Lines.

An alert is what somebody said about a token at a moment. Alerts of one file are unique by their content
key; the same key is made from the same alert in any file, so importing twice stores nothing twice.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, is_storable, shown, storable_text
from quantbot_pipeline.ingest.source_files import (
    SourceFile,
    column_positions,
    csv_records,
    has_undecodable_bytes,
    read_header,
    read_source_file,
    text_lines,
)
from quantbot_pipeline.ingest.timestamps import parse_instant, zone_named
from quantbot_pipeline.ingest.tokens import TokenKey, canonical_chain, canonical_token

ALERT_FILE_KINDS = (".csv", ".jsonl", ".ndjson")
"""Suffixes of alert files; each also with `.gz`."""

REQUIRED_COLUMNS = ("caller", "token_address", "chain", "timestamp", "price_at_alert", "mcap_at_alert")
OPTIONAL_COLUMNS = ("side", "signal_type", "symbol", "confidence", "message_id")

MAX_NAME_LENGTH = 200
"""Longest caller, symbol, message id or source, characters; the databases index them."""

Parsed = TypeVar("Parsed")

_KNOWN_COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
_LINE_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")
# Marks without width that copied text carries at its ends; the joiner within emoji is not among them.
_INVISIBLE = "\u200b\u2060\ufeff"


@dataclass(frozen=True, slots=True)
class ParsedAlert:
    """One alert that can be stored.

    Attributes:
        line: Line at which it starts, from 1.
        source: Where it came from, as the import named it.
        caller: Who made it: trimmed, inner line ends as one blank, else as written.
        token: Canonical token.
        symbol: Ticker, if given.
        side: Direction; `buy` unless the row says otherwise (a signal type `exit` alone means `sell`).
        signal_type: What it asks for; `entry` for a buy and `exit` for a sell unless the row says otherwise.
        alert_timestamp: When it was made, UTC-aware, microseconds kept.
        alert_price: Price the row states, quote currency, > 0; None if empty.
        alert_market_cap: Market cap the row states, quote currency, > 0; None if empty.
        confidence: In [0, 1]; None if empty.
        message_id: The source's id of the message; None if empty.
        raw: The row as read: texts of a CSV row, values of a JSON object.
        content_key: Natural key, sha256 in hex; see `content_key`.
    """

    line: int
    source: str
    caller: str
    token: TokenKey
    symbol: str | None
    side: Side
    signal_type: SignalType
    alert_timestamp: datetime
    alert_price: float | None
    alert_market_cap: float | None
    confidence: float | None
    message_id: str | None
    raw: dict[str, Any]
    content_key: str


@dataclass(frozen=True)
class AlertFile:
    """What one alert file held.

    `rows_read == len(alerts) + duplicates + len(quarantined)` always holds.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes.
        rows_read: Rows in the file, the header and blank lines aside.
        alerts: Good alerts, unique by `content_key`, in file order; of equal ones the first.
        duplicates: Rows whose content key came before in this file.
        quarantined: Rows that can't be used, in file order.
    """

    path: Path
    sha256: str
    rows_read: int
    alerts: tuple[ParsedAlert, ...]
    duplicates: int
    quarantined: tuple[QuarantinedRow, ...]


class _FieldError(Exception):
    """A field of a row is refused."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


class _Row(NamedTuple):
    """A row before its fields were looked at.

    Attributes:
        line: Line at which it starts.
        raw_text: Its text.
        cells: Known fields by name; absent and empty ones are None. Texts are as written.
        raw: The whole row.
        problem: Why it can't be read at all; None for a good row.
    """

    line: int
    raw_text: str
    cells: dict[str, Any]
    raw: dict[str, Any]
    problem: str | None


def read_alert_file(path: Path, *, source: str = "file", timezone: str | None = None) -> AlertFile:
    """Read one alert file.

    Args:
        path: `.csv`, `.jsonl` or `.ndjson`, each also with `.gz`.
        source: Name of where the alerts come from; part of a caller's and an alert's identity.
        timezone: IANA zone of times that state none; without it such rows are quarantined.

    Raises:
        DataError: the file can't be read, a required CSV column is missing, or an argument is not usable.
    """
    if not source.strip() or source != source.strip() or len(source) > MAX_NAME_LENGTH or not is_storable(source):
        raise DataError(
            f"source {shown(source)} is no usable name: allowed are 1 to {MAX_NAME_LENGTH} characters "
            "without blanks around them"
        )
    zone = zone_named(timezone) if timezone is not None else None
    opened = read_source_file(path, allowed=ALERT_FILE_KINDS)
    rows = _csv_rows(opened) if opened.kind == ".csv" else _json_rows(opened)
    alerts: dict[str, ParsedAlert] = {}
    quarantined: list[QuarantinedRow] = []
    rows_read = duplicates = 0
    for row in rows:
        rows_read += 1
        try:
            alert = _parsed_alert(row, source, zone)
        except _FieldError as error:
            quarantined.append(
                QuarantinedRow(opened.name, row.line, error.field, error.reason, storable_text(row.raw_text))
            )
            continue
        if alert.content_key in alerts:
            duplicates += 1
        else:
            alerts[alert.content_key] = alert
    return AlertFile(
        path=path,
        sha256=opened.sha256,
        rows_read=rows_read,
        alerts=tuple(alerts.values()),
        duplicates=duplicates,
        quarantined=tuple(quarantined),
    )


def content_key(
    *,
    source: str,
    caller: str,
    token: TokenKey,
    side: Side,
    signal_type: SignalType,
    alert_timestamp: datetime,
    alert_price: float | None,
    alert_market_cap: float | None,
    message_id: str | None,
) -> str:
    """Return the natural key of an alert, sha256 in hex.

    With a message id: source, message id and token (one message may name several tokens, and several
    rows may stem from one message). Without: everything that the alert says. Spellings of chain and address,
    zone of the time and decimal forms of a number make no difference.
    """
    if message_id is not None:
        parts: list[str | None] = ["message", source, message_id, token.chain, token.address]
    else:
        parts = [
            "content",
            source,
            caller,
            token.chain,
            token.address,
            side.value,
            signal_type.value,
            alert_timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
            None if alert_price is None else repr(alert_price),
            None if alert_market_cap is None else repr(alert_market_cap),
        ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode("ascii")).hexdigest()


# ---- files into rows


def _csv_rows(opened: SourceFile) -> Iterator[_Row]:
    lines = text_lines(opened)
    records = csv_records(lines)
    header = read_header(opened, lines, records)
    positions = column_positions(header.fields, _KNOWN_COLUMNS, file=opened.name)
    missing = [name for name in REQUIRED_COLUMNS if name not in positions]
    if missing:
        raise DataError(
            f"{opened.name}: line {header.line}: columns missing: {', '.join(map(repr, missing))}; "
            f"needed are {', '.join(REQUIRED_COLUMNS)}, separated by commas, found are "
            f"{', '.join(shown(name) for name in header.fields)}"
        )
    names = _distinct_names(header.fields)

    def rows() -> Iterator[_Row]:
        for record in records:
            raw_text = record.raw_text(lines)
            problem = record.problem
            if problem is None and has_undecodable_bytes(raw_text):
                problem = "the row holds bytes that are not UTF-8"
            if problem is not None:
                yield _Row(record.line, raw_text, {}, {}, problem)
                continue
            cells = {name: record.fields[position] for name, position in positions.items()}
            yield _Row(record.line, raw_text, cells, dict(zip(names, record.fields, strict=True)), None)

    return rows()


def _distinct_names(names: list[str]) -> list[str]:
    """Return the column names with repeated ones numbered, so that a raw row keeps every cell."""
    seen: dict[str, int] = {}
    distinct: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return distinct


def _json_rows(opened: SourceFile) -> Iterator[_Row]:
    for number, line in enumerate(text_lines(opened), start=1):
        text = line.strip()
        if not text:
            continue
        try:
            raw = _json_object(text)
        except _FieldError as error:
            yield _Row(number, text, {}, {}, error.reason)
            continue
        cells: dict[str, Any] = {}
        problem: str | None = None
        for name, value in raw.items():
            folded = name.strip().casefold()
            if folded not in _KNOWN_COLUMNS:
                continue
            if folded in cells:
                problem = f"field {folded!r} occurs twice; keep one of them"
            cells[folded] = value
        yield _Row(number, text, cells, raw, problem)


def _json_object(text: str) -> dict[str, Any]:
    if has_undecodable_bytes(text):
        raise _FieldError(None, "the row holds bytes that are not UTF-8")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object_of_pairs)
    except RecursionError:
        raise _FieldError(None, "the JSON is nested too deeply") from None
    except ValueError as error:
        raise _FieldError(None, f"the line is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _FieldError(None, f"the line holds {_json_kind(value)}; a JSON object is allowed")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; write null for a number that is not known")


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return result


def _json_kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
    }
    return kinds[type(value)]


# ---- rows into alerts


def _parsed_alert(row: _Row, source: str, zone: ZoneInfo | None) -> ParsedAlert:
    if row.problem is not None:
        raise _FieldError(None, row.problem)
    if not _is_storable_value(row.raw):
        raise _FieldError(None, "the row holds a NUL character, half of a surrogate pair, or a number beyond float64")
    caller = _name(row, "caller")
    if caller is None:
        raise _FieldError("caller", "caller is empty")
    chain = _required_text(row, "chain")
    address = _required_text(row, "token_address")
    _checked("chain", lambda: canonical_chain(chain))
    token = _checked("token_address", lambda: canonical_token(chain, address))
    side, signal_type = _direction(row)
    alert_timestamp = _timestamp(row, zone)
    alert_price = _positive_number(row, "price_at_alert")
    alert_market_cap = _positive_number(row, "mcap_at_alert")
    message_id = _name(row, "message_id")
    return ParsedAlert(
        line=row.line,
        source=source,
        caller=caller,
        token=token,
        symbol=_name(row, "symbol"),
        side=side,
        signal_type=signal_type,
        alert_timestamp=alert_timestamp,
        alert_price=alert_price,
        alert_market_cap=alert_market_cap,
        confidence=_confidence(row),
        message_id=message_id,
        raw=row.raw,
        content_key=content_key(
            source=source,
            caller=caller,
            token=token,
            side=side,
            signal_type=signal_type,
            alert_timestamp=alert_timestamp,
            alert_price=alert_price,
            alert_market_cap=alert_market_cap,
            message_id=message_id,
        ),
    )


def _checked(field: str, parse: Callable[[], Parsed]) -> Parsed:
    try:
        return parse()
    except DataError as error:
        raise _FieldError(field, str(error)) from None


def _is_storable_value(value: Any) -> bool:
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(is_storable(name) and _is_storable_value(item) for name, item in value.items())
    if isinstance(value, list):
        return all(_is_storable_value(item) for item in value)
    return True


def _text(row: _Row, field: str) -> str | None:
    """Return a trimmed text, None if it is empty; a whole number (as ids often are) counts as text."""
    value = row.cells.get(field)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise _FieldError(field, f"{field} is {_json_kind(value)}; a text is allowed")
    return value.strip().strip(_INVISIBLE).strip() or None


def _required_text(row: _Row, field: str) -> str:
    text = _text(row, field)
    if text is None:
        raise _FieldError(field, f"{field} is empty")
    return text


def _name(row: _Row, field: str) -> str | None:
    text = _text(row, field)
    if text is None:
        return None
    name = _LINE_BREAKS.sub(" ", text)
    if len(name) > MAX_NAME_LENGTH:
        raise _FieldError(field, f"{field} has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed")
    return name


def _direction(row: _Row) -> tuple[Side, SignalType]:
    side_text = _text(row, "side")
    signal_text = _text(row, "signal_type")
    side: Side | None = None
    if side_text is not None:
        try:
            side = Side(side_text.casefold())
        except ValueError:
            raise _FieldError("side", f"side {shown(side_text)} is unknown; allowed are buy, sell") from None
    if signal_text is None:
        return (side or Side.BUY), (SignalType.EXIT if side is Side.SELL else SignalType.ENTRY)
    try:
        signal_type = SignalType(signal_text.casefold())
    except ValueError:
        allowed = ", ".join(SignalType)
        raise _FieldError(
            "signal_type", f"signal_type {shown(signal_text)} is unknown; allowed are {allowed}"
        ) from None
    return (side or (Side.SELL if signal_type is SignalType.EXIT else Side.BUY)), signal_type


def _timestamp(row: _Row, zone: ZoneInfo | None) -> datetime:
    value = row.cells.get("timestamp")
    if isinstance(value, str):
        value = value.strip() or None
    if value is None:
        raise _FieldError("timestamp", "timestamp is empty")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _FieldError("timestamp", f"timestamp is {_json_kind(value)}; a number or a text is allowed")
    instant_of = value
    return _checked("timestamp", lambda: parse_instant(instant_of, zone))


def _number(row: _Row, field: str) -> float | None:
    value = row.cells.get(field)
    if isinstance(value, str):
        value = value.strip() or None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _FieldError(field, f"{field} is {_json_kind(value)}; a number is allowed")
    text = value if isinstance(value, str) else repr(value)
    return _checked(field, lambda: parse_number(text, field))


def _positive_number(row: _Row, field: str) -> float | None:
    number = _number(row, field)
    if number is not None and number <= 0:
        raise _FieldError(field, f"{field} is {number!r} and must be above 0; leave it empty if it is not known")
    return number


def _confidence(row: _Row) -> float | None:
    number = _number(row, "confidence")
    if number is not None and not 0 <= number <= 1:
        raise _FieldError("confidence", f"confidence is {number!r}; allowed are 0 to 1")
    return number
