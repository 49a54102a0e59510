"""Alert files in, typed alerts out: exported chats, CSV, JSON and JSON Lines.

An alert is what somebody said about a token at a moment. Alerts of one file are unique by their content
key; the same key is made from the same alert in any file, so importing twice stores nothing twice. The rules
of reading are in docs/ingest-alerts.md, the readers in the folder `alerts`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.assembly import AlertAssembly
from quantbot_pipeline.ingest.alerts.callers import folded_name
from quantbot_pipeline.ingest.alerts.chat_messages import ChatMessage, assemble_chat
from quantbot_pipeline.ingest.alerts.columns import read_mapping
from quantbot_pipeline.ingest.alerts.csv_rows import read_csv_rows
from quantbot_pipeline.ingest.alerts.json_elements import JsonElement, JsonScalar, read_elements
from quantbot_pipeline.ingest.alerts.json_rows import JsonRows, read_json_lines
from quantbot_pipeline.ingest.alerts.messages import KNOWN_BOTS
from quantbot_pipeline.ingest.alerts.options import AlertOptions
from quantbot_pipeline.ingest.alerts.records import MAX_NAME_LENGTH, AlertFile, ParsedAlert, content_key
from quantbot_pipeline.ingest.alerts.table_rows import TableRow, assemble_table, folded_address
from quantbot_pipeline.ingest.alerts.telegram_html import read_html_messages
from quantbot_pipeline.ingest.alerts.telegram_json import TelegramJson, is_message_list
from quantbot_pipeline.ingest.alerts.text_source import TextSource, open_text_source
from quantbot_pipeline.ingest.quarantine import is_storable, shown
from quantbot_pipeline.ingest.source_files import csv_records
from quantbot_pipeline.ingest.timestamps import zone_named
from quantbot_pipeline.ingest.tokens import canonical_chain, is_evm_address, is_solana_address

__all__ = [
    "ALERT_FILE_KINDS",
    "MAX_NAME_LENGTH",
    "AlertFile",
    "ParsedAlert",
    "content_key",
    "read_alert_file",
    "read_pool_map",
]

ALERT_FILE_KINDS = (".csv", ".jsonl", ".ndjson", ".json", ".html", ".htm")
"""Suffixes of alert files; each also with `.gz`."""

_PAGE_KINDS = (".html", ".htm")
NO_CHAT_ID = (
    "an HTML export names no chat id: its alerts are others than those of the same chat's JSON or tables; "
    "--chat with the chat's id joins them"
)
"""Note on alerts of an HTML export that was read without its chat's id."""


def read_alert_file(
    path: Path,
    *,
    source: str = "file",
    timezone: str | None = None,
    chain: str | None = None,
    caller: str | None = None,
    chat: str | None = None,
    columns: Mapping[str, str] | None = None,
    mints_of_pools: Mapping[str, str] | None = None,
    bots: Collection[str] | None = None,
    now: datetime | None = None,
) -> AlertFile:
    """Read one alert file.

    Args:
        path: `.csv`, `.jsonl`, `.ndjson`, `.json` (Telegram's `result.json`, or a list of objects), `.html`
            (Telegram's `messages.html`), each also with `.gz`.
        source: Name of where the alerts come from; part of a caller's and an alert's identity.
        timezone: IANA zone of times that state none; without it such rows are quarantined.
        chain: Chain of 0x addresses and pair names that nothing else places on one.
        caller: Caller of rows that name none.
        chat: Chat of messages that name none: Telegram's id of it, which an HTML export does not hold.
        columns: Field by column of a table, for names that are not known; a field is one of
            `columns.NAMES_OF_FIELDS`, or `ignore`.
        mints_of_pools: Token address by pool address, see `read_pool_map`.
        bots: Names or ids of the bots that answer calls; `KNOWN_BOTS` if None.
        now: The present, with a zone: alerts later than a day after it are refused. Without it, those from 2100 on.

    Raises:
        DataError: the file can't be read or is none of alerts, or an argument is not usable.
    """
    _require_name("source", source)
    for what, value in (("caller", caller), ("chat", chat)):
        if value is not None:
            _require_name(what, value)
    for bot in bots or ():
        _require_name("bot", bot)
    options = AlertOptions(
        source=source,
        zone=zone_named(timezone) if timezone is not None else None,
        chain=canonical_chain(chain) if chain is not None else None,
        caller=caller,
        chat=chat,
        columns=read_mapping(columns or {}),
        mints_of_pools=_checked_pools(mints_of_pools or {}),
        bots=frozenset(name for bot in bots for name in (bot, folded_name(bot))) if bots is not None else KNOWN_BOTS,
        now=now,
    )
    with open_text_source(path, allowed=ALERT_FILE_KINDS) as opened:
        assembly = AlertAssembly(opened.name)
        if opened.kind == ".csv":
            assemble_table(read_csv_rows(opened, options.columns), options, assembly)
        elif opened.kind in (".jsonl", ".ndjson"):
            assemble_table(read_json_lines(opened, options.columns), options, assembly)
        elif opened.kind == ".json":
            _assemble_json(opened, options, assembly)
        else:
            _require_no_mapping(opened, options)
            assemble_chat(read_html_messages(opened.chunks()), options, assembly)
    file = assembly.finish(path, opened.sha256)
    if opened.kind in _PAGE_KINDS and not file.rows_read:
        raise DataError(
            f"{opened.name}: the page holds no message of an exported chat; allowed is Telegram's messages.html"
        )
    is_nameless = opened.kind in _PAGE_KINDS and chat is None
    return replace(file, notes=(NO_CHAT_ID,)) if is_nameless and file.alerts else file


def read_pool_map(path: Path) -> dict[str, str]:
    """Read which token each pool trades: CSV with the columns `pool_address` and `base_mint` (or `token_address`).

    Returns:
        Token address by pool address, 0x addresses in lower case.

    Raises:
        DataError: the file can't be read, a column is missing, a row has an empty cell, or a pool has two tokens.
    """
    with open_text_source(path, allowed=(".csv",)) as opened:
        records = csv_records(opened.stream.readlines())
        header = next(records, None)
        names = [name.strip().casefold() for name in header.fields] if header is not None else []
        mint_name = next((name for name in ("base_mint", "mint", "token_address") if name in names), None)
        if "pool_address" not in names or mint_name is None:
            raise DataError(
                f"{path}: columns are missing; needed are pool_address and base_mint, found are "
                f"{', '.join(map(shown, names)) or 'none'}"
            )
        mints: dict[str, str] = {}
        for record in records:
            if record.problem is not None:
                raise DataError(f"{path}:{record.line}: {record.problem}")
            pool = folded_address(record.fields[names.index("pool_address")].strip())
            mint = folded_address(record.fields[names.index(mint_name)].strip())
            if not pool or not mint:
                raise DataError(f"{path}:{record.line}: pool_address or {mint_name} is empty; both are needed")
            _checked_pools({pool: mint})
            if mints.setdefault(pool, mint) != mint:
                raise DataError(f"{path}:{record.line}: pool {shown(pool)} has two tokens: {mints[pool]} and {mint}")
    return mints


def _require_name(what: str, name: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > MAX_NAME_LENGTH or not is_storable(name):
        raise DataError(
            f"{what} {shown(name)} is no usable name: allowed are 1 to {MAX_NAME_LENGTH} characters "
            "without blanks around them"
        )


def _checked_pools(mints_of_pools: Mapping[str, str]) -> dict[str, str]:
    for pool, mint in mints_of_pools.items():
        if not any(is_one(pool) and is_one(mint) for is_one in (is_solana_address, is_evm_address)):
            raise DataError(
                f"the pool {shown(pool)} and its token {shown(mint)} must both be Solana addresses, or both 0x and 40 "
                "hex digits"
            )
    return {folded_address(pool): folded_address(mint) for pool, mint in mints_of_pools.items()}


def _require_no_mapping(opened: TextSource, options: AlertOptions) -> None:
    if options.columns:
        names = ", ".join(shown(name) for name in options.columns)
        raise DataError(f"{opened.name}: an exported chat has no columns, found a mapping of {names}; leave --map out")


def _assemble_json(opened: TextSource, options: AlertOptions, assembly: AlertAssembly) -> None:
    """Read `result.json`, or a list of objects as a table."""
    parts = read_elements(opened.chunks(), lambda path: path == ("*",) or is_message_list(path), file=opened.name)
    rows = JsonRows(options.columns)
    telegram = TelegramJson()
    table: list[JsonElement] = []

    def messages() -> Iterator[JsonElement | JsonScalar]:
        for part in parts:
            if part.path != ("*",):
                yield part
            elif isinstance(part, JsonElement):
                table.append(part)
            else:
                problem = "the list holds something that is no object"
                table.append(JsonElement(part.line, part.text, problem, part.scope, part.path))

    has_messages = False

    def chat_messages() -> Iterator[ChatMessage]:
        nonlocal has_messages
        for message in TelegramJson.messages(messages(), telegram):
            has_messages = True
            yield message

    assemble_chat(chat_messages(), options, assembly)
    if has_messages:
        _require_no_mapping(opened, options)
    assemble_table(
        (
            rows.row(part.line, part.text)
            if part.problem is None
            else TableRow(part.line, part.text, {}, {}, part.problem)
            for part in table
        ),
        options,
        assembly,
    )
