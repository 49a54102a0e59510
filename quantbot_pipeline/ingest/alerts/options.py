"""What an import says about a whole file, and the parts of a reading that every reader shares."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from quantbot_pipeline.ingest.alerts.messages import KNOWN_BOTS


@dataclass(frozen=True)
class AlertOptions:
    """What an import says about a file, checked.

    Attributes:
        source: Where the alerts come from.
        zone: Zone of times that state none.
        chain: Canonical chain of addresses that nothing else places on one.
        caller: Caller of rows that name none.
        chat: Chat of messages that name none.
        columns: Field by folded column name, see `columns.read_mapping`.
        mints_of_pools: Token address by pool address, 0x addresses in lower case.
        bots: Names (folded) and ids of bots that answer calls.
    """

    source: str
    zone: ZoneInfo | None = None
    chain: str | None = None
    caller: str | None = None
    chat: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    mints_of_pools: Mapping[str, str] = field(default_factory=dict)
    bots: Set[str] = KNOWN_BOTS


def canonical_chat(chat: str) -> str:
    """Return the one id of a chat: `-1001900000001`, `channel1900000001` and `1900000001` are one.

    Telegram's exports leave out the marks that its other interfaces put before the number.
    """
    text = chat.strip()
    for mark in ("-100", "channel", "-"):
        rest = text.removeprefix(mark)
        if rest != text and rest.isascii() and rest.isdigit():
            return rest
    return text
