"""Rows of tables (CSV records, JSON objects) into alerts: which token, when, by whom, and what was stated."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.addresses import UnclearAddress
from quantbot_pipeline.ingest.alerts.amounts import known_market_cap, parse_amount
from quantbot_pipeline.ingest.alerts.assembly import AlertAssembly, with_notes
from quantbot_pipeline.ingest.alerts.callers import clean_name, one_line, trimmed
from quantbot_pipeline.ingest.alerts.directions import direction_of_words
from quantbot_pipeline.ingest.alerts.messages import MessageReading, NamedToken, command_of, is_bot, read_message
from quantbot_pipeline.ingest.alerts.options import AlertOptions, canonical_chat
from quantbot_pipeline.ingest.alerts.records import (
    AMBIGUOUS,
    BOT_COMMAND,
    BOT_MESSAGE,
    MAX_NAME_LENGTH,
    NO_TOKEN,
    AddressKind,
    ParsedAlert,
    RowRefusal,
    content_key,
)
from quantbot_pipeline.ingest.alerts.times import TIME_ROLES, TimeCell, agreed_instant
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import is_storable, shown
from quantbot_pipeline.ingest.tokens import (
    EVM_CHAINS,
    UNKNOWN_EVM_CHAIN,
    TokenKey,
    canonical_chain,
    canonical_token,
    find_chain,
    is_evm_address,
    is_solana_address,
)

MAX_NESTING = 50
"""Deepest nesting of a JSON value that is stored."""

Parsed = TypeVar("Parsed")

_UNKNOWN_WORDS = frozenset({"unknown", "n/a", "na", "none", "null", "-", "?"})


class Cell(NamedTuple):
    """One cell of a row, with the name of its column as written."""

    column: str
    value: Any


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row before its fields were looked at.

    Attributes:
        line: Line at which it starts.
        raw_text: Its text.
        cells: Cells by field, the strongest column first; absent fields are not in it.
        raw: The whole row.
        problem: Why it can't be read at all; None for a good row.
        no_token_reason: Why rows of this table name no token, as far as its columns tell; None if they can.
    """

    line: int
    raw_text: str
    cells: Mapping[str, tuple[Cell, ...]]
    raw: dict[str, Any]
    problem: str | None
    no_token_reason: str | None = None


def no_token_columns(names: tuple[str, ...]) -> str:
    """Return the reason of rows whose table has no column that could name a token."""
    found = ", ".join(shown(name, 40) for name in names[:40])
    return (
        f"{NO_TOKEN}: no column holds addresses or messages, and a name or symbol alone is no token, for many share "
        f"it; found are {found}; if one of them does name it, map it: column=token_address"
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """An alert of a row, with what ties it to bots' answers."""

    alert: ParsedAlert
    raw_text: str
    answered_by: str | None
    is_bots: bool


def assemble_table(rows: Iterator[TableRow], options: AlertOptions, assembly: AlertAssembly) -> None:
    """Count the rows of a table.

    A row that another row names as the bot's answer to it (`bot_reply_id`), for the same token, is a duplicate
    of that one; any other row of a known bot is refused.
    """
    asked: list[_Asked] = []
    for row in rows:
        try:
            outcomes = list(_read_row(row, options))
        except RowRefusal as refusal:
            assembly.refuse(row.line, refusal, row.raw_text)
            continue
        for outcome in outcomes:
            if isinstance(outcome, RowRefusal):
                assembly.refuse(row.line, outcome, row.raw_text)
            else:
                asked.append(outcome)
    answers: dict[tuple[str | None, str, str], str] = {}
    for one in asked:
        if one.answered_by is not None:
            answers[one.alert.chat_id, one.answered_by, one.alert.token.address] = one.alert.content_key
    waiting: list[tuple[str, _Asked]] = []
    for one in asked:
        alert = one.alert
        target = answers.get((alert.chat_id, alert.message_id, alert.token.address)) if alert.message_id else None
        if target is not None and target != alert.content_key:
            waiting.append((target, one))
        elif one.is_bots:
            reason = f"{BOT_MESSAGE}, which no row names as the answer to a call; caller is {alert.caller_name!r}"
            assembly.refuse(alert.line, RowRefusal("caller", reason), one.raw_text)
        else:
            assembly.add(alert)
    for target, one in waiting:
        if assembly.holds(target):
            chain = one.alert.token.chain
            assembly.answer(
                target,
                price=one.alert.alert_price,
                market_cap=one.alert.alert_market_cap,
                symbol=one.alert.symbol,
                chain=chain if chain != UNKNOWN_EVM_CHAIN else None,
                notes=(f"line {one.alert.line} is a bot's answer to it, by {one.alert.caller_name!r}",),
            )
        else:
            reason = f"{BOT_MESSAGE}, and the row that names it as its answer is none of a call either"
            assembly.refuse(one.alert.line, RowRefusal("message_id", reason), one.raw_text)


def _read_row(row: TableRow, options: AlertOptions) -> "Iterator[_Asked | RowRefusal]":
    if row.problem is not None:
        raise RowRefusal(None, row.problem)
    require_storable(row.raw)
    message = _text(row, "message")
    reading = None
    if message is not None:
        command = command_of(message)
        if command is not None:
            raise RowRefusal("message", f"{BOT_COMMAND} {command}")
        reading = read_message(message, (), options.mints_of_pools)
    for named in _tokens(row, reading, message or "", options):
        if isinstance(named, RowRefusal):
            yield named
        else:
            yield _alert(row, named, reading, options)


def _alert(row: TableRow, named: NamedToken, reading: MessageReading | None, options: AlertOptions) -> _Asked:
    cells = [
        TimeCell(cell.column, cell.value, role)
        for role in TIME_ROLES
        for cell in row.cells.get(role, ())
        if not _is_empty(cell.value)
    ]
    alert_timestamp = agreed_instant(cells, options.zone)
    options.require_past(alert_timestamp)
    handle, name, caller_attributes = _caller(row, options)
    is_bots = is_bot((name, handle), options.bots)
    side, signal_type = _direction(row, is_bots=is_bots)
    attributes: dict[str, Any] = {}
    notes = list(named.notes)
    alert_price = _positive_number(row, "price_at_alert")
    alert_market_cap = _market_cap(row, notes)
    if named.pool is not None:
        attributes["pool"] = named.pool
    elif named.kind is AddressKind.TOKEN and (pool := _optional_address(row, "pool_address")) is not None:
        attributes["pool"] = pool
    if reading is not None and reading.linked_pools:
        attributes["linked_pools"] = list(reading.linked_pools[:10])
    message_id = _name(row, "message_id")
    chat = _name(row, "chat_id") or options.chat
    chat_id = canonical_chat(chat) if chat is not None else None
    alert = ParsedAlert(
        line=row.line,
        source=options.source,
        caller=handle,
        token=named.token,
        symbol=_known_word(_name(row, "symbol")),
        side=side,
        signal_type=signal_type,
        alert_timestamp=alert_timestamp,
        alert_price=alert_price,
        alert_market_cap=alert_market_cap,
        confidence=_confidence(row),
        message_id=message_id,
        raw=row.raw,
        content_key=content_key(
            source=options.source,
            caller=handle,
            token=named.token,
            side=side,
            signal_type=signal_type,
            alert_timestamp=alert_timestamp,
            alert_price=alert_price,
            alert_market_cap=alert_market_cap,
            message_id=message_id,
            chat_id=chat_id,
        ),
        caller_name=name,
        chat_id=chat_id,
        address_kind=named.kind,
        caller_attributes=caller_attributes,
        attributes=with_notes(attributes, notes),
    )
    return _Asked(alert, row.raw_text, _name(row, "bot_reply_id"), is_bots)


# ---- which token


def _tokens(
    row: TableRow, reading: MessageReading | None, message: str, options: AlertOptions
) -> "list[NamedToken | RowRefusal]":
    chain = _known_word(_text(row, "chain"))
    if chain is not None:
        written = chain
        chain = checked("chain", lambda: canonical_chain(written))
    addresses = _column_addresses(row)
    if addresses:
        return [_token_of_column(addresses, chain, reading, message, options)]
    if reading is not None and (reading.tokens or reading.unclear):
        return [
            *(_with_column_chain(named, chain, options) for named in reading.tokens),
            *(ambiguity(unclear) for unclear in reading.unclear),
        ]
    pool = _optional_address(row, "pool_address")
    if pool is not None:
        key = _placed(pool, chain, options)
        mint = options.mints_of_pools.get(key.address)
        if mint is not None:
            return [NamedToken(canonical_token(key.chain, mint), AddressKind.TOKEN, is_placed=True, pool=key.address)]
        return [NamedToken(key, AddressKind.POOL, is_placed=True)]
    if row.no_token_reason is not None:
        raise RowRefusal("token_address", row.no_token_reason)
    if reading is not None:
        raise RowRefusal("message", NO_TOKEN)
    raise RowRefusal("token_address", f"{NO_TOKEN}: token_address is empty")


def _column_addresses(row: TableRow) -> list[str]:
    addresses: list[str] = []
    for cell in row.cells.get("token_address", ()):
        text = _cell_text(cell)
        if text is not None and text not in addresses:
            addresses.append(text)
    if len(addresses) > 1 and len({folded_address(text) for text in addresses}) > 1:
        raise RowRefusal(
            "token_address", f"the row names several tokens: {', '.join(shown(text) for text in addresses[:5])}"
        )
    return addresses[:1]


def folded_address(text: str) -> str:
    """Return an address for comparison: 0x addresses in lower case, any other as it is."""
    return text.lower() if is_evm_address(text) else text


def _token_of_column(
    addresses: list[str], chain: str | None, reading: MessageReading | None, message: str, options: AlertOptions
) -> NamedToken:
    address = addresses[0]
    prefix, separator, rest = address.partition("_")
    if separator and (network := find_chain(prefix)) is not None and (is_solana_address(rest) or is_evm_address(rest)):
        # GeckoTerminal's ids are network_address.
        chain, address = network, rest
    named = reading.tokens if reading is not None else ()
    same = next((one for one in named if folded_address(address) in (one.token.address, one.pool)), None)
    if same is not None:
        return _with_column_chain(same, chain, options)
    if reading is not None and len(named) == 1 and address in message:
        # The column was cut out of the message in a way that spoilt it: the message tells.
        one = _with_column_chain(named[0], chain, options)
        note = f"token_address was {address!r}, cut wrongly out of the message"
        return replace(one, notes=(*one.notes, note))
    if reading is not None:
        for unclear in reading.unclear:
            if address not in unclear.readings and address in unclear.text:
                raise ambiguity(unclear)
    token = _placed(address, chain, options)
    if any(one.kind is AddressKind.TOKEN for one in named):
        others = ", ".join(one.token.address for one in named[:5])
        raise RowRefusal("token_address", f"token_address {address!r} and the message disagree: it names {others}")
    mint = options.mints_of_pools.get(token.address)
    if mint is not None:
        return NamedToken(canonical_token(token.chain, mint), AddressKind.TOKEN, is_placed=True, pool=token.address)
    return NamedToken(token, AddressKind.TOKEN, is_placed=True)


def _with_column_chain(named: NamedToken, chain: str | None, options: AlertOptions) -> NamedToken:
    """Return a token of the message with the chain that the row states, where the message states none."""
    if named.is_placed:
        if chain is not None and chain != named.token.chain:
            note = f"the chain column says {chain!r}, the message or its address {named.token.chain!r}, which counts"
            return replace(named, notes=(*named.notes, note))
        return named
    return replace(named, token=_placed(named.token.address, chain, options))


def _placed(address: str, chain: str | None, options: AlertOptions) -> TokenKey:
    """Return the key of an address on the chain of its row, else the import's if it fits, else as its form tells."""
    if chain is None:
        if is_solana_address(address):
            chain = "solana"
        elif is_evm_address(address):
            chain = options.chain if options.chain in EVM_CHAINS else UNKNOWN_EVM_CHAIN
        elif options.chain is not None:
            chain = options.chain
        else:
            raise RowRefusal(
                "chain" if len(address) <= MAX_NAME_LENGTH else "token_address",
                f"chain is empty, and token_address {shown(address)} is neither a Solana nor an EVM address that "
                "would tell it",
            )
    on = chain
    return checked("token_address", lambda: canonical_token(on, address))


def ambiguity(unclear: UnclearAddress) -> RowRefusal:
    """Return the refusal of an address that can be read in several ways."""
    return RowRefusal("message", f"{AMBIGUOUS}: {unclear.reason}")


# ---- by whom


def _caller(row: TableRow, options: AlertOptions) -> tuple[str, str, dict[str, str]]:
    """Return the caller's handle, name as shown, and what was taken from the name."""
    written = _raw_text_of(row, "caller")
    identity = _name(row, "caller_id")
    name, attributes = clean_name(written) if written is not None else (None, {})
    if identity is not None:
        return identity, name or identity, attributes
    if name is None:
        if options.caller is not None:
            return options.caller, options.caller, attributes
        raise RowRefusal("caller", "caller is empty")
    return name, name, attributes


def _raw_text_of(row: TableRow, field: str) -> str | None:
    for cell in row.cells.get(field, ()):
        if _cell_text(cell, field) is not None:
            return str(cell.value)
    return None


# ---- what was stated


def _market_cap(row: TableRow, notes: list[str]) -> float | None:
    for field in ("mcap_at_alert", "fdv_at_alert"):
        amount = _amount(row, field)
        if amount is None:
            continue
        value, note = known_market_cap(amount[0], has_unit=amount[1])
        if note is not None:
            notes.append(note)
        elif field == "fdv_at_alert":
            notes.append("the market cap is the fully diluted value: the row states no other")
        if value is not None and value <= 0:
            raise _not_positive(field, value)
        return value
    return None


def _positive_number(row: TableRow, field: str) -> float | None:
    amount = _amount(row, field)
    if amount is not None and amount[0] <= 0:
        raise _not_positive(field, amount[0])
    return None if amount is None else amount[0]


def _not_positive(field: str, value: float) -> RowRefusal:
    return RowRefusal(field, f"{field} is {value!r} and must be above 0; leave it empty if it is not known")


def _amount(row: TableRow, field: str) -> tuple[float, bool] | None:
    for cell in row.cells.get(field, ()):
        text = _number_text(cell, field)
        if text is not None:
            return _checked_amount(field, text)
    return None


def _checked_amount(field: str, text: str) -> tuple[float, bool]:
    return checked(field, lambda: parse_amount(text, field))


def _checked_number(field: str, text: str) -> float:
    return checked(field, lambda: parse_number(text, field))


def _confidence(row: TableRow) -> float | None:
    for cell in row.cells.get("confidence", ()):
        text = _number_text(cell, "confidence")
        if text is not None:
            number = _checked_number("confidence", text)
            if not 0 <= number <= 1:
                raise RowRefusal("confidence", f"confidence is {number!r}; allowed are 0 to 1")
            return number
    return None


def _direction(row: TableRow, *, is_bots: bool) -> tuple[Side, SignalType]:
    side_text = _text(row, "side")
    signal_text = _text(row, "signal_type")
    message = _text(row, "message")
    if side_text is None and signal_text is None and message is not None and not is_bots:
        return direction_of_words(message)
    side: Side | None = None
    if side_text is not None:
        try:
            side = Side(side_text.casefold())
        except ValueError:
            raise RowRefusal("side", f"side {shown(side_text)} is unknown; allowed are buy, sell") from None
    if signal_text is None:
        return (side or Side.BUY), (SignalType.EXIT if side is Side.SELL else SignalType.ENTRY)
    try:
        signal_type = SignalType(signal_text.casefold())
    except ValueError:
        allowed = ", ".join(SignalType)
        raise RowRefusal("signal_type", f"signal_type {shown(signal_text)} is unknown; allowed are {allowed}") from None
    return (side or (Side.SELL if signal_type is SignalType.EXIT else Side.BUY)), signal_type


# ---- cells


def checked(field: str, parse: Callable[[], Parsed]) -> Parsed:
    """Return what a parser returns; what it refuses is a refusal of the row for this field.

    Raises:
        RowRefusal: the parser raised a DataError.
    """
    try:
        return parse()
    except DataError as error:
        raise RowRefusal(field, str(error)) from None


def json_kind(value: Any) -> str:
    """Return what kind of JSON value this is, in words."""
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


def require_storable(value: Any) -> None:
    """Refuse a row that the databases would not take.

    Raises:
        RowRefusal: it holds a NUL character, half of a surrogate pair, a number beyond float64, or is nested
            more than `MAX_NESTING` deep.
    """
    level = [value]
    for _ in range(MAX_NESTING):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item)
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
            elif (isinstance(item, str) and not is_storable(item)) or (
                isinstance(item, float) and not math.isfinite(item)
            ):
                raise RowRefusal(
                    None, "the row holds a NUL character, half of a surrogate pair, or a number beyond float64"
                )
        if not inner:
            return
        level = inner
    raise RowRefusal(None, f"the JSON is nested too deeply; at most {MAX_NESTING} levels are allowed")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _cell_text(cell: Cell, field: str | None = None) -> str | None:
    """Return a trimmed text, None if it is empty; a whole number (as ids often are) counts as text."""
    value = cell.value
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        # Data frames write whole numbers so where a cell of the column is empty.
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        name = field or cell.column
        raise RowRefusal(name, f"{name} is {json_kind(value)}; a text is allowed")
    return trimmed(value) or None


def _text(row: TableRow, field: str) -> str | None:
    for cell in row.cells.get(field, ()):
        text = _cell_text(cell, field)
        if text is not None:
            return text
    return None


def _name(row: TableRow, field: str) -> str | None:
    text = _text(row, field)
    if text is None:
        return None
    if len(text) > 5 * MAX_NAME_LENGTH or len(name := one_line(text)) > MAX_NAME_LENGTH:
        raise RowRefusal(field, f"{field} has {len(text)} characters; at most {MAX_NAME_LENGTH} are allowed")
    return name


def _known_word(text: str | None) -> str | None:
    return None if text is None or text.casefold() in _UNKNOWN_WORDS else text


def _optional_address(row: TableRow, field: str) -> str | None:
    text = _name(row, field)
    if text is None:
        return None
    prefix, separator, rest = text.partition("_")
    return folded_address(rest if separator and find_chain(prefix) is not None else text)


def _number_text(cell: Cell, field: str) -> str | None:
    value = cell.value
    if _is_empty(value):
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowRefusal(field, f"{field} is {json_kind(value)}; a number is allowed")
    return value if isinstance(value, str) else repr(value)
