"""What alerts are once they are read: the alert itself, its natural key, and the refusal of a row."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, TokenKey

MAX_NAME_LENGTH = 200
"""Longest caller, symbol, message id, chat or source, characters; the databases index them."""

NO_TOKEN = "no token is named"  # noqa: S105 - a reason, no secret
"""How the reason of a row begins that names no token."""
SERVICE_MESSAGE = "not a call: service message"
"""How the reason of a pin, a join, a date line and their like begins."""
BOT_COMMAND = "not a call: bot command"
"""How the reason of a message begins that asks a bot for something."""
BOT_MESSAGE = "not a call: a bot's message"
"""How the reason of a bot's message begins that enriches no call."""
WARNING = "not a call: the message warns"
"""How the reason of a message begins that warns of the token it names."""
AMBIGUOUS = "the address is ambiguous"
"""How the reason of a text begins that can be read as several addresses."""


class AddressKind(StrEnum):
    """What an alert's address is the address of."""

    TOKEN = "token"  # noqa: S105 - a kind of address, no secret
    """The token itself (a mint on Solana)."""
    POOL = "pool"
    """A trading pool whose token is not known; candles of Solana pools are keyed by it."""


@dataclass(frozen=True, slots=True)
class ParsedAlert:
    """One alert that can be stored.

    Attributes:
        line: Line at which it starts, from 1.
        source: Where it came from, as the import named it.
        caller: The caller's handle, unique within the source: the id that the export gives them, else the
            cleaned name.
        token: Canonical token, or the pool if `address_kind` says so.
        symbol: Ticker, if given.
        side: Direction; `buy` unless the row or, without a word of its own, its message says otherwise (a signal type
            `exit` alone means `sell`).
        signal_type: What it asks for; `entry` for a buy and `exit` for a sell unless the row says otherwise.
        alert_timestamp: When it was made, an edited message when it was edited last; UTC-aware, microseconds kept.
        alert_price: Price that was stated, quote currency, > 0; None if unknown.
        alert_market_cap: Market cap that was stated, quote currency, > 0; None if unknown, which one that lost
            its unit (below 1 000) is too.
        confidence: In [0, 1]; None if empty.
        message_id: The source's id of the message; None if empty.
        raw: The row as read: texts of a CSV row, values of a JSON object, an exported message.
        content_key: Natural key, sha256 in hex; see `content_key`.
        caller_name: The caller's name as shown: cleaned of forward headers, dates and line ends.
        chat_id: The chat that the message is of; None if unknown.
        address_kind: Whether `token` is a token or a pool whose token is not known.
        caller_attributes: What cleaning took from the name, by what it is; `name_as_written` where they differ.
        attributes: What else is known: `notes`, `pool`, `forwarded_from`, `sent_at` and their like. Storable as JSON.
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
    caller_name: str
    chat_id: str | None = None
    address_kind: AddressKind = AddressKind.TOKEN
    caller_attributes: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertFile:
    """What one alert file held.

    `rows_read == len(alerts) + duplicates + len(quarantined)` always holds.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes.
        rows_read: Rows in the file, the header and blank lines aside. In exported chats, and in tables whose
            rows name tokens in a message only, a row is one token that one message names, or one message that
            names none.
        alerts: Good alerts, unique by `content_key`, in file order.
        duplicates: Rows that say nothing of their own: their content key came before in this file, or they are
            a bot's answer to an alert. What they alone knew is in that alert.
        quarantined: Rows that can't be used, in file order.
        notes: What a person should know about how the file was read.
    """

    path: Path
    sha256: str
    rows_read: int
    alerts: tuple[ParsedAlert, ...]
    duplicates: int
    quarantined: tuple[QuarantinedRow, ...]
    notes: tuple[str, ...] = ()


class RowRefusal(Exception):  # noqa: N818 - a verdict on one row, which never leaves the readers
    """A row can't be used.

    Attributes:
        field: The field at fault; None for the row as a whole.
        reason: What is wrong, what was found and what is allowed.
    """

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


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
    chat_id: str | None = None,
) -> str:
    """Return the natural key of an alert, sha256 in hex.

    With a message id: source, chat (if known), message id and token; one message may name several tokens, and
    several rows may stem from one message. Without: everything that the alert says. Spellings of chain and
    address, zone of the time and decimal forms of a number make no difference. Nor does which EVM chain a
    0x address is on: the chain is often learned later, and the alert stays the same.
    """
    family = "evm" if token.chain in EVM_CHAINS else token.chain
    if message_id is not None:
        chat = [] if chat_id is None else [chat_id]
        parts: list[str | None] = ["message", source, *chat, message_id, family, token.address]
    else:
        parts = [
            "content",
            source,
            caller,
            family,
            token.address,
            side.value,
            signal_type.value,
            alert_timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
            None if alert_price is None else repr(alert_price),
            None if alert_market_cap is None else repr(alert_market_cap),
        ]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode("ascii")).hexdigest()
