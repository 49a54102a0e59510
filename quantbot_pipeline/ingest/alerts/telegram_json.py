"""Telegram Desktop's machine-readable export, `result.json`: one chat, or all chats of an account."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from quantbot_pipeline.ingest.alerts.addresses import BREAK
from quantbot_pipeline.ingest.alerts.chat_messages import Chat, ChatMessage
from quantbot_pipeline.ingest.alerts.json_elements import JsonElement, JsonScalar, Path
from quantbot_pipeline.ingest.alerts.json_rows import json_object
from quantbot_pipeline.ingest.alerts.records import RowRefusal
from quantbot_pipeline.ingest.alerts.times import TimeCell
from quantbot_pipeline.ingest.quarantine import RAW_TEXT_LIMIT

_CHAT_LISTS = frozenset(
    {("messages", "*"), ("chats", "list", "*", "messages", "*"), ("left_chats", "list", "*", "messages", "*")}
)
_CODE_TYPES = frozenset({"code", "pre"})
_MARKED_TYPES = frozenset({"bold", "code"})
_KEPT = {
    "forwarded_from": "forwarded_from",
    "forwarded_from_id": "forwarded_from_id",
    "saved_from": "saved_from",
    "via_bot": "via_bot",
    "edited": "edited_at_as_written",
    "edited_unixtime": "edited_at",
    "author": "signature",
}
_LONGEST_KEPT = 200


def is_message_list(path: Path) -> bool:
    """Return whether the list at a path holds a chat's messages."""
    return path in _CHAT_LISTS


class TelegramJson:
    """Makes messages of the elements of an export, and keeps its chats."""

    def __init__(self) -> None:
        self._chats: dict[int, Chat] = defaultdict(Chat)

    def scalar(self, scalar: JsonScalar) -> ChatMessage | None:
        """Take what an export says outside its messages; a scalar among the messages is a message that is none."""
        if is_message_list(scalar.path):
            problem = "the list of messages holds something that is no message"
            return ChatMessage(scalar.line, self._chats[scalar.scope], raw_text=scalar.text, problem=problem)
        name = scalar.path[-1] if scalar.path else ""
        chat = self._chats[scalar.scope]
        if name == "id":
            chat.chat_id = scalar.text[:200] or None
        elif name == "name":
            chat.title = _unescaped(scalar.text)
        return None

    def message(self, element: JsonElement) -> ChatMessage:
        """Return the message of an element."""
        chat = self._chats[element.scope]
        if element.problem is not None:
            return ChatMessage(element.line, chat, raw_text=element.text, problem=element.problem)
        try:
            raw = json_object(element.text)
        except RowRefusal as refusal:
            return ChatMessage(element.line, chat, raw_text=element.text, problem=refusal.reason)
        pieces = _pieces(raw)
        return ChatMessage(
            line=element.line,
            chat=chat,
            message_id=_id(raw.get("id")),
            is_service=raw.get("type", "message") != "message",
            times=_times(raw, "date_unixtime", "date"),
            edits=_edits(raw),
            author=_string(raw.get("from")),
            author_id=_id(raw.get("from_id")),
            reply_to=_id(raw.get("reply_to_message_id")),
            text="".join(text if kind not in _CODE_TYPES else f"{BREAK}{text}{BREAK}" for kind, text, _ in pieces),
            links=tuple(link for _, _, link in pieces if link),
            first_marked=next((text for kind, text, _ in pieces if kind in _MARKED_TYPES), None),
            attributes={
                name: str(value)[:_LONGEST_KEPT]
                for key, name in _KEPT.items()
                if isinstance(value := raw.get(key), (str, int)) and not isinstance(value, bool)
            },
            raw=raw,
            raw_text=" ".join(element.text[: 4 * RAW_TEXT_LIMIT].split())[:RAW_TEXT_LIMIT],
        )

    @staticmethod
    def messages(parts: Iterator[JsonElement | JsonScalar], telegram: "TelegramJson") -> Iterator[ChatMessage]:
        """Yield the messages of an export's parts."""
        for part in parts:
            if isinstance(part, JsonElement):
                yield telegram.message(part)
            elif (broken := telegram.scalar(part)) is not None:
                yield broken


def _unescaped(text: str) -> str | None:
    try:
        value = json.loads(f'"{text}"')
    except ValueError:
        return None
    return value[:200] if isinstance(value, str) and value else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _id(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip() or None


def _edits(raw: dict[str, Any]) -> tuple[TimeCell, ...]:
    """Return what tells the last edit; older exports state the beginning of the epoch where there was none."""
    return tuple(
        cell
        for cell in _times(raw, "edited_unixtime", "edited")
        if str(cell.value).strip() != "0" and not str(cell.value).startswith(("1970-01-01", "1969-12-31"))
    )


def _times(raw: dict[str, Any], *names: str) -> tuple[TimeCell, ...]:
    cells = []
    for name in names:
        value = raw.get(name)
        if value is not None and value != "":
            cells.append(TimeCell(name, value, "timestamp"))
    return tuple(cells)


def _pieces(raw: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Return the kind, text and hidden link of each piece of a message."""
    text = raw.get("text")
    if text in (None, "", []):
        text = raw.get("text_entities")
    if isinstance(text, str):
        return [("plain", text, None)]
    pieces: list[tuple[str, str, str | None]] = []
    for piece in text if isinstance(text, list) else ():
        if isinstance(piece, str):
            pieces.append(("plain", piece, None))
        elif isinstance(piece, dict):
            kind, words, link = piece.get("type"), piece.get("text"), piece.get("href")
            if isinstance(words, str):
                pieces.append(
                    (kind if isinstance(kind, str) else "plain", words, link if isinstance(link, str) else None)
                )
    return pieces
