"""Telegram Desktop's readable export, `messages.html`, read piece by piece.

The scanner knows tags, their quoted attributes and character references, and nothing else of HTML: the standard
library's parser takes time by the square of the length of an unclosed tag or comment, and a file from somewhere
must not stop an import.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import NamedTuple

from quantbot_pipeline.ingest.alerts.addresses import BREAK
from quantbot_pipeline.ingest.alerts.chat_messages import Chat, ChatMessage
from quantbot_pipeline.ingest.alerts.text_source import MAX_RECORD_CHARACTERS, too_long
from quantbot_pipeline.ingest.alerts.times import TimeCell
from quantbot_pipeline.ingest.quarantine import RAW_TEXT_LIMIT
from quantbot_pipeline.ingest.source_files import has_undecodable_bytes

MAX_TAG_CHARACTERS = 16_384
"""Longest tag; a `<` with no `>` within that many characters is text."""

_TAG_NAME = re.compile(r"(/?)([A-Za-z][A-Za-z0-9]*)")
_ATTRIBUTE = re.compile(r"""(?<![\w-])([A-Za-z-]++)\s*+=\s*+(?:"([^"]*+)"|'([^']*+)')""")
_LONGEST_REFERENCE = 32
_MESSAGE_ID = re.compile(r"message(-?[0-9]{1,18})")
_REPLY = re.compile(r"go_to_message(-?[0-9]{1,18})")
_TITLE_TIME = re.compile(
    r"([0-9]{2})\.([0-9]{2})\.([0-9]{4}) ([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?: UTC([+-][0-9]{2}:[0-9]{2}))?"
)


class _Text(NamedTuple):
    text: str


class _Tag(NamedTuple):
    name: str
    is_end: bool
    attributes: dict[str, str]


@dataclass(slots=True)
class _Open:
    """The message that is being read."""

    message: ChatMessage
    depth: int
    roles: list[str] = field(default_factory=list)
    title: str | None = None
    forwarded: list[str] = field(default_factory=list)
    author: list[str] = field(default_factory=list)
    service: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    length: int = 0
    links: list[str] = field(default_factory=list)
    marked: list[str] | None = None
    marked_is_open: bool = False
    is_in_date: bool = False
    is_joined: bool = False


def read_html_messages(chunks: Iterable[str]) -> Iterator[ChatMessage]:
    """Yield the messages of an export in the file's order.

    A message that follows one of the same person names nobody: the name before it counts. The name, the time and
    the bot of what a message forwards are not those of the message.

    Args:
        chunks: The text in pieces.
    """
    chat = Chat()
    reader = _Reader(chat)
    for event, line in _events(chunks):
        if isinstance(event, _Text):
            reader.take_text(event.text)
        elif (finished := reader.take_tag(event, line)) is not None:
            yield finished
    if reader.open is not None:
        cut = reader.finish()
        if cut is not None:
            cut.problem = cut.problem or "the file ends within this message: it is cut off"
            yield cut


class _Reader:
    """Puts messages together from tags and texts."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.open: _Open | None = None
        self._depth = 0
        self._title_depth = 0
        self._title: list[str] = []
        self._last_author: str | None = None

    def take_text(self, text: str) -> None:
        if self._title_depth and not self.open:
            if sum(map(len, self._title)) < 1000:
                self._title.append(text)
            return
        message = self.open
        if message is None:
            return
        message.length += len(text)
        if message.length > MAX_RECORD_CHARACTERS:
            return
        role = message.roles[-1] if message.roles else ""
        if role == "text":
            message.text.append(text)
            if message.marked_is_open and message.marked is not None:
                message.marked.append(text)
        elif role == "from_name" and not message.is_in_date:
            (message.forwarded if "forwarded" in message.roles else message.author).append(text)
        elif message.message.is_service:
            message.service.append(text)

    def take_tag(self, tag: _Tag, line: int) -> ChatMessage | None:
        """Take one tag; return the message that it ends."""
        if tag.name == "div":
            return self._end_div() if tag.is_end else self._start_div(tag, line)
        message = self.open
        if message is None:
            return None
        if tag.name == "span" and message.roles and message.roles[-1] == "from_name":
            message.is_in_date = not tag.is_end and "date" in tag.attributes.get("class", "").split()
        elif tag.name == "a" and not tag.is_end:
            self._start_link(message, tag)
        elif tag.name == "br":
            self.take_text("\n")
        elif tag.name in ("code", "pre", "strong", "b") and message.roles and message.roles[-1] == "text":
            if tag.name in ("code", "pre"):
                message.text.append(BREAK)
            if tag.name != "pre":
                self._mark(message, is_end=tag.is_end)
        return None

    @staticmethod
    def _mark(message: _Open, *, is_end: bool) -> None:
        if is_end:
            message.marked_is_open = False
        elif message.marked is None:
            message.marked = []
            message.marked_is_open = True

    @staticmethod
    def _start_link(message: _Open, tag: _Tag) -> None:
        href = tag.attributes.get("href", "")
        role = message.roles[-1] if message.roles else ""
        if role == "reply":
            target = _REPLY.search(href) or _REPLY.search(tag.attributes.get("onclick", ""))
            if target and message.message.reply_to is None:
                message.message.reply_to = target[1]
        elif role == "text" and href and len(message.links) < 1000:
            message.links.append(href)

    def _start_div(self, tag: _Tag, line: int) -> ChatMessage | None:
        classes = frozenset(tag.attributes.get("class", "").split())
        self._depth += 1
        if "message" in classes:
            finished = self.finish()
            found = _MESSAGE_ID.fullmatch(tag.attributes.get("id", ""))
            message = ChatMessage(line, self.chat, message_id=found[1] if found else None)
            message.is_service = "service" in classes
            self.open = _Open(message, self._depth, is_joined="joined" in classes)
            return finished
        if self.open is None:
            if {"text", "bold"} <= classes and not self._title:
                self._title_depth = self._depth
            return None
        if "date" in classes and "forwarded" not in self.open.roles and self.open.title is None:
            self.open.title = tag.attributes.get("title")
        self.open.roles.append(self._role(classes))
        return None

    @staticmethod
    def _role(classes: frozenset[str]) -> str:
        for name, role in (
            ("forwarded", "forwarded"),
            ("from_name", "from_name"),
            ("reply_to", "reply"),
            ("date", "date"),
            ("text", "text"),
        ):
            if name in classes:
                return role
        return ""

    def _end_div(self) -> ChatMessage | None:
        self._depth -= 1
        if self.open is None:
            if self._title_depth > self._depth:
                self._title_depth = 0
                self.chat.title = " ".join("".join(self._title).split())[:200] or None
            return None
        if self.open.roles:
            self.open.roles.pop()
        if self._depth < self.open.depth:
            return self.finish()
        return None

    def finish(self) -> ChatMessage | None:
        """Return the open message as read; None if there is none."""
        one = self.open
        self.open = None
        if one is None:
            return None
        message = one.message
        author = "".join(one.author).strip()
        if message.is_service:
            author = ""
        elif author:
            self._last_author = author
        elif one.is_joined:
            author = self._last_author or ""
        message.author = author or None
        message.text = "".join(one.text).strip("\n ")
        message.links = tuple(one.links)
        message.first_marked = "".join(one.marked).strip() if one.marked is not None else None
        message.times = _times(one.title)
        if one.forwarded:
            message.attributes["forwarded_from"] = " ".join("".join(one.forwarded).split())[:200]
        shown_text = message.text.replace(BREAK, "")
        if message.is_service:
            shown_text = " ".join("".join(one.service).split())
        message.raw = {
            "id": message.message_id,
            "date": one.title,
            "from": message.author,
            "reply_to_message_id": message.reply_to,
            "forwarded_from": message.attributes.get("forwarded_from"),
            "text": shown_text,
            "links": list(message.links),
        }
        message.raw_text = json.dumps(message.raw, ensure_ascii=False)[:RAW_TEXT_LIMIT]
        if one.length > MAX_RECORD_CHARACTERS:
            message.problem = too_long(one.length)
        elif has_undecodable_bytes(message.text):
            message.problem = "the row holds bytes that are not UTF-8"
        return message


def _times(title: str | None) -> tuple[TimeCell, ...]:
    """Return a date's title as ISO text: `11.12.2025 18:48:28 UTC+11:00`; older exports state no offset."""
    if not title:
        return ()
    match = _TITLE_TIME.fullmatch(title.strip())
    text = f"{match[3]}-{match[2]}-{match[1]}T{match[4]}{match[5] or ''}" if match else title
    return (TimeCell("date", text, "timestamp"),)


def _events(chunks: Iterable[str]) -> Iterator[tuple[_Text | _Tag, int]]:
    """Yield tags and texts in order, each with the line at which it starts."""
    buffer = ""
    line = 1
    for chunk in _with_end(chunks):
        is_last = chunk is None
        buffer += chunk or ""
        position = 0
        counted = 0
        next_end = -2
        while position < len(buffer):
            start = buffer.find("<", position)
            if start != position:
                end = _safe_end(buffer, position, start, is_last=is_last)
                if end == position:
                    break
                yield _Text(unescape(buffer[position:end])), line
                position = end
                if start < 0 and not is_last:
                    break
                continue
            if next_end < start and next_end != -1:
                next_end = buffer.find(">", start)
            if next_end < 0 or next_end - start > MAX_TAG_CHARACTERS:
                if not is_last and next_end < 0 and len(buffer) - start <= MAX_TAG_CHARACTERS:
                    break
                yield _Text("<"), line
                position = start + 1
                continue
            inner = buffer.rfind("<", start, next_end)
            if inner > start:
                yield _Text(unescape(buffer[start:inner])), line
                position = inner
                continue
            line += buffer.count("\n", counted, start)
            counted = start
            position = next_end + 1
            tag = _tag(buffer[start + 1 : next_end])
            if tag is not None:
                yield tag, line
        line += buffer.count("\n", counted, position)
        buffer = buffer[position:]


def _with_end(chunks: Iterable[str]) -> Iterator[str | None]:
    yield from chunks
    yield None


def _safe_end(buffer: str, position: int, start: int, *, is_last: bool) -> int:
    """Return where a text may be cut so that no character reference is torn."""
    if start >= 0:
        return start
    if is_last:
        return len(buffer)
    reference = buffer.rfind("&", max(position, len(buffer) - _LONGEST_REFERENCE))
    return reference if reference >= 0 else len(buffer)


def _tag(inside: str) -> _Tag | None:
    match = _TAG_NAME.match(inside)
    if match is None:
        return None
    attributes: dict[str, str] = {}
    if not match[1]:
        for found in _ATTRIBUTE.finditer(inside, match.end()):
            attributes.setdefault(found[1].lower(), unescape(found[2] if found[2] is not None else found[3]))
    return _Tag(match[2].lower(), bool(match[1]), attributes)
