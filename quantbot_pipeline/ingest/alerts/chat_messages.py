"""Exported chat messages into alerts: who calls what, which answers of bots belong to it, and what is no call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quantbot_pipeline.ingest.alerts.addresses import BREAK
from quantbot_pipeline.ingest.alerts.assembly import AlertAssembly, with_notes
from quantbot_pipeline.ingest.alerts.callers import clean_name
from quantbot_pipeline.ingest.alerts.directions import direction_of_words
from quantbot_pipeline.ingest.alerts.messages import (
    MAX_ANSWER_SECONDS,
    MessageReading,
    NamedToken,
    command_of,
    is_bot,
    read_figures,
    read_message,
)
from quantbot_pipeline.ingest.alerts.options import AlertOptions, canonical_chat
from quantbot_pipeline.ingest.alerts.records import (
    BOT_COMMAND,
    BOT_MESSAGE,
    MAX_NAME_LENGTH,
    NO_TOKEN,
    SERVICE_MESSAGE,
    ParsedAlert,
    RowRefusal,
    content_key,
)
from quantbot_pipeline.ingest.alerts.table_rows import ambiguity, require_storable
from quantbot_pipeline.ingest.alerts.times import TimeCell, agreed_instant
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, UNKNOWN_EVM_CHAIN, TokenKey


@dataclass
class Chat:
    """A chat of an export; what is known of it may come after its messages.

    Attributes:
        chat_id: Its id, None if the export gives none.
        title: Its name.
    """

    chat_id: str | None = None
    title: str | None = None


@dataclass(slots=True)
class ChatMessage:
    """One exported message, before it is understood.

    Attributes:
        line: Line of the file at which it starts.
        chat: Its chat.
        message_id: Its id in the chat; None if it has none.
        is_service: Whether it tells of an event (a pin, somebody joined, a date) and nobody said it.
        times: What tells when it was sent.
        edits: What tells when it was last edited; empty if it never was.
        author: Name of who sent it, as written.
        author_id: Their id.
        reply_to: Id of the message it answers.
        text: What it shows, `BREAK` around code blocks.
        links: Links hidden behind words of it.
        first_marked: Text of its first bold or code piece.
        attributes: Further things to keep, such as `forwarded_from`.
        raw: The whole message.
        raw_text: The same as text, for quarantine.
        problem: Why it can't be read at all.
    """

    line: int
    chat: Chat
    message_id: str | None = None
    is_service: bool = False
    times: tuple[TimeCell, ...] = ()
    edits: tuple[TimeCell, ...] = ()
    author: str | None = None
    author_id: str | None = None
    reply_to: str | None = None
    text: str = ""
    links: tuple[str, ...] = ()
    first_marked: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    raw_text: str = ""
    problem: str | None = None


@dataclass(slots=True)
class _Call:
    """A person's message that names tokens, with the keys of the alerts it became."""

    message: ChatMessage
    reading: MessageReading
    keys: dict[str, str] = field(default_factory=dict)
    instant: datetime | None = None


def assemble_chat(messages: Iterable[ChatMessage], options: AlertOptions, assembly: AlertAssembly) -> None:
    """Count the rows of exported chats.

    A row is one token that a message names, one address in it that is ambiguous, or one message that names none.
    A bot's message that answers a call is a duplicate of that call for each of the call's tokens that it names
    (or for its only token, if it names none).
    """
    calls: list[_Call] = []
    answers: list[tuple[ChatMessage, MessageReading]] = []
    for message in messages:
        try:
            reading = _read(message, options)
        except RowRefusal as refusal:
            assembly.refuse(message.line, refusal, message.raw_text)
            continue
        if _is_answer(message, options):
            # Half of some chats are answers; what they were made of is not needed any more.
            message.raw = {}
            answers.append((message, reading))
        else:
            calls.append(_Call(message, reading))
    # Only now are all chats known by their ids.
    calls_of_messages: dict[tuple[int, str], _Call] = {}
    for call in calls:
        _add_call(call, options, assembly)
        if call.keys and call.message.message_id is not None:
            calls_of_messages.setdefault((id(call.message.chat), call.message.message_id), call)
    for message, reading in answers:
        asked = calls_of_messages.get((id(message.chat), message.reply_to)) if message.reply_to is not None else None
        _add_answer(message, reading, asked, options, assembly)


def _read(message: ChatMessage, options: AlertOptions) -> MessageReading:
    """Return what a message names.

    Raises:
        RowRefusal: it is no message of a person or bot that names a token.
    """
    if message.problem is not None:
        raise RowRefusal(None, message.problem)
    if message.is_service:
        raise RowRefusal(None, SERVICE_MESSAGE)
    require_storable(message.raw)
    command = command_of(message.text)
    if command is not None:
        raise RowRefusal("message", f"{BOT_COMMAND} {command}")
    reading = read_message(message.text, message.links, options.mints_of_pools)
    if not reading.tokens and not reading.unclear and not _is_answer(message, options):
        raise RowRefusal("message", NO_TOKEN)
    return reading


def _is_answer(message: ChatMessage, options: AlertOptions) -> bool:
    """Return whether a bot sent it: a person may have a bot's name, but does not answer with figures.

    What a known bot says is an answer if it is a reply or states figures.
    """
    name = None if message.author is None else message.author.split("\n", 1)[0][:MAX_NAME_LENGTH]
    if not is_bot((name, message.author_id), options.bots):
        return False
    if message.reply_to is not None or message.author_id in options.bots:
        return True
    figures = read_figures(message.text)
    return figures.price is not None or figures.market_cap is not None


def _add_call(call: _Call, options: AlertOptions, assembly: AlertAssembly) -> None:
    message = call.message
    for named in call.reading.tokens:
        try:
            alert = _alert(message, named, call.reading, options)
        except RowRefusal as refusal:
            assembly.refuse(message.line, refusal, message.raw_text)
            continue
        assembly.add(alert)
        call.keys[named.token.address] = alert.content_key
        call.instant = alert.alert_timestamp
    for unclear in call.reading.unclear:
        assembly.refuse(message.line, ambiguity(unclear), message.raw_text)


def _alert(message: ChatMessage, named: NamedToken, reading: MessageReading, options: AlertOptions) -> ParsedAlert:
    sent_at = agreed_instant(message.times, options.zone)
    # What an edited message says may have been put into it with the edit: nobody could read it before.
    alert_timestamp = _last_instant(message, sent_at, options)
    options.require_past(alert_timestamp)
    name, caller_attributes = clean_name(message.author) if message.author is not None else (None, {})
    if message.author_id is not None:
        handle = message.author_id
        if len(handle) > MAX_NAME_LENGTH:
            raise RowRefusal(
                "caller_id", f"caller_id has {len(handle)} characters; at most {MAX_NAME_LENGTH} are allowed"
            )
    elif name is not None or options.caller is not None:
        handle = name or options.caller or ""
    else:
        raise RowRefusal("caller", "caller is empty")
    direction = direction_of_words(message.text)
    token = named.token
    if not named.is_placed and options.chain in EVM_CHAINS:
        token = TokenKey(options.chain or UNKNOWN_EVM_CHAIN, token.address)
    figures = read_figures(message.text)
    attributes = dict(message.attributes)
    if named.pool is not None:
        attributes["pool"] = named.pool
    if reading.linked_pools:
        attributes["linked_pools"] = list(reading.linked_pools[:10])
    notes = [*named.notes, *figures.notes]
    if alert_timestamp != sent_at:
        attributes["sent_at"] = sent_at.isoformat()
        notes.append("the message was edited: the alert counts from the time of its last edit")
    chat = message.chat.chat_id or options.chat or message.chat.title
    chat_id = None if chat is None else canonical_chat(chat)
    if message.message_id is not None and len(message.message_id) > MAX_NAME_LENGTH:
        raise RowRefusal(
            "message_id", f"message_id has {len(message.message_id)} characters; at most {MAX_NAME_LENGTH} are allowed"
        )
    return ParsedAlert(
        line=message.line,
        source=options.source,
        caller=handle,
        token=token,
        symbol=None,
        side=direction.side,
        signal_type=direction.signal_type,
        alert_timestamp=alert_timestamp,
        alert_price=figures.price,
        alert_market_cap=figures.market_cap,
        confidence=None,
        message_id=message.message_id,
        raw=message.raw,
        content_key=content_key(
            source=options.source,
            caller=handle,
            token=token,
            side=direction.side,
            signal_type=direction.signal_type,
            # An edit makes no other alert of it.
            alert_timestamp=sent_at,
            alert_price=figures.price,
            alert_market_cap=figures.market_cap,
            message_id=message.message_id,
            chat_id=chat_id,
        ),
        caller_name=name or handle,
        chat_id=chat_id,
        address_kind=named.kind,
        caller_attributes=caller_attributes,
        attributes=with_notes(attributes, notes),
    )


def _last_instant(message: ChatMessage, sent_at: datetime, options: AlertOptions) -> datetime:
    """Return when a message became what it is: when it was edited last, else when it was sent.

    Raises:
        RowRefusal: the time of the edit can't be read.
    """
    return max(sent_at, agreed_instant(message.edits, options.zone)) if message.edits else sent_at


def _add_answer(
    message: ChatMessage,
    reading: MessageReading,
    asked: _Call | None,
    options: AlertOptions,
    assembly: AlertAssembly,
) -> None:
    named: list[str] = [address for one in reading.tokens for address in _addresses(one, asked)]
    if asked is None:
        reason = "it answers no message that is a call" if message.reply_to is not None else "it answers no message"
        refusal = RowRefusal("message", f"{BOT_MESSAGE}: {reason}")
        for _ in range(max(1, len(reading.tokens) + len(reading.unclear))):
            assembly.refuse(message.line, refusal, message.raw_text)
        return
    if not reading.tokens and not reading.unclear:
        if len(asked.keys) == 1:
            named = list(asked.keys)
        else:
            reason = f"{BOT_MESSAGE}: it names none of the {len(asked.keys)} tokens of the call that it answers"
            assembly.refuse(message.line, RowRefusal("message", reason), message.raw_text)
            return
    chain = next((one.token.chain for one in reading.tokens if one.is_placed), None) or reading.chain
    for address in named:
        key = asked.keys.get(address)
        if key is None:
            reason = f"{BOT_MESSAGE}: it is about {address}, which the call that it answers does not name"
            assembly.refuse(message.line, RowRefusal("message", reason), message.raw_text)
            continue
        _enrich(message, key, asked, chain if chain in EVM_CHAINS else None, options, assembly)
    for unclear in reading.unclear:
        assembly.refuse(message.line, ambiguity(unclear), message.raw_text)


def _addresses(named: NamedToken, asked: _Call | None) -> tuple[str, ...]:
    """Return the address of the call's that a bot's token is: the pool may be called and the token answered."""
    keys: Mapping[str, str] = asked.keys if asked is not None else {}
    if named.pool is not None and named.pool in keys and named.token.address not in keys:
        return (named.pool,)
    return (named.token.address,)


def _enrich(
    message: ChatMessage,
    key: str,
    asked: _Call,
    chain: str | None,
    options: AlertOptions,
    assembly: AlertAssembly,
) -> None:
    try:
        # To the second is enough here, so its first time will do.
        answered_at = _last_instant(message, agreed_instant(message.times[:1], options.zone), options)
    except RowRefusal:
        assembly.answer(key, notes=("a bot's answer whose time can't be read was not used",))
        return
    called_at = asked.instant
    seconds = MAX_ANSWER_SECONDS + 1.0 if called_at is None else (answered_at - called_at).total_seconds()
    if not -1 <= seconds <= MAX_ANSWER_SECONDS:
        note = (
            f"a bot's answer {seconds:.0f} s after the call was not used: nobody knew its figures at the call"
            if seconds > 0
            else f"a bot's answer {-seconds:.0f} s before the call was not used: it may be about what was edited since"
        )
        assembly.answer(key, notes=(note,))
        return
    figures = read_figures(message.text.replace(BREAK, " "), message.first_marked)
    assembly.answer(
        key,
        price=figures.price,
        market_cap=figures.market_cap,
        symbol=figures.symbol,
        chain=chain,
        notes=figures.notes,
    )
