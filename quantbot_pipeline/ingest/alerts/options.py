"""What an import says about a whole file, and the parts of a reading that every reader shares."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from quantbot_pipeline.ingest.alerts.messages import KNOWN_BOTS
from quantbot_pipeline.ingest.alerts.records import RowRefusal


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
        now: The present; alerts later than a day after it are refused. Without it, those from 2100 on.
    """

    source: str
    zone: ZoneInfo | None = None
    chain: str | None = None
    caller: str | None = None
    chat: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    mints_of_pools: Mapping[str, str] = field(default_factory=dict)
    bots: Set[str] = KNOWN_BOTS
    now: datetime | None = None

    def require_past(self, instant: datetime) -> None:
        """Refuse an alert of the future; a day is left to clocks and zones that are wrong.

        Raises:
            RowRefusal: it is later than a day after the present.
        """
        if self.now is not None and instant > self.now + timedelta(days=1):
            raise RowRefusal(
                "timestamp",
                f"timestamp {instant:%Y-%m-%dT%H:%M:%SZ} lies in the future; allowed are times up to a day after now",
            )


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
