"""Whatever an alert file holds: no crash, no row lost, and the same rows however the file comes in pieces."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import AlertFile, read_alert_file
from quantbot_pipeline.ingest.alerts.addresses import FoundAddress, find_addresses
from quantbot_pipeline.ingest.alerts.json_elements import read_elements
from quantbot_pipeline.ingest.alerts.messages import command_of, read_figures, read_message
from quantbot_pipeline.ingest.alerts.telegram_html import read_html_messages
from quantbot_pipeline.ingest.alerts.telegram_json import is_message_list
from quantbot_pipeline.ingest.tokens import encode_base58

MINT = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
EVM = "0x6979420908dd937df18c845a98939ed58e28b053"

# Fragments of which real messages are made, so that what is drawn comes near to the rules' edges.
FRAGMENTS = st.sampled_from(
    [
        *(MINT, EVM, EVM[:30], MINT[:22], MINT[22:], "watching", "Aped", "bonk", "pump", "0x", "f" * 24, "1" * 44),
        *(
            "https://",
            "dexscreener.com/solana/",
            "pump.fun/",
            "axiom.trade/meme/",
            "?chain=sol",
            "/pnl ",
            "/",
            "[",
            "]",
        ),
        *(
            "\n",
            "\r\n",
            "\u200b",
            "\u00a0",
            "\x1f",
            " ",
            "on Base",
            "└ Solana\n",
            "FDV: ",
            "$",
            "USD: ",
            "3.2",
            "71.75K",
        ),
        *(
            "'",
            '"',
            "\\",
            "<",
            ">",
            "&amp",
            ";",
            "<br>",
            "<code>",
            "</div>",
            "\x00",
            "\ud83d",
            "💀",
            "é",
            ",",
            "{",
            "}",
        ),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=12).map("".join))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
COLUMNS = (
    *(
        "caller",
        "caller_id",
        "mint",
        "address",
        "pool_id",
        "chain",
        "timestamp",
        "date",
        "hour",
        "alert_ts_ms",
        "price",
    ),
    *("mcap", "fdv", "ticker", "message", "message_id", "chat_id", "bot_reply_id", "side", "confidence", "max_gain"),
)
PLAUSIBLE = {
    "caller": ["Brook", "Phanes [Gold]", ""],
    "mint": [MINT, EVM, EVM.upper(), ""],
    "timestamp": ["2025-07-18T14:50:51Z", 1752850251000, "2025-07-19 01:50:51"],
    "message": [MINT, f"{MINT}watching", EVM, f"/pnl {MINT}", "gm"],
    "message_id": [1, 2, "3"],
    "bot_reply_id": [1, 2, None],
}
ROWS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=8).flatmap(
    lambda row: st.fixed_dictionaries(
        {},
        optional={name: st.sampled_from(values) for name, values in PLAUSIBLE.items()},
    ).map(lambda plausible: {**row, **plausible})
)

MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.integers(1, 5), VALUES),
        "type": st.sampled_from(["message", "service", 1]),
        "date": st.one_of(st.just("2025-07-18T14:50:51"), VALUES),
        "date_unixtime": st.one_of(st.just("1752850251"), VALUES),
        "from": st.one_of(st.sampled_from(["Brook", "Rick"]), VALUES),
        "from_id": st.one_of(st.just("user1"), VALUES),
        "reply_to_message_id": st.one_of(st.integers(1, 5), VALUES),
        "text": st.one_of(TEXTS, VALUES, st.lists(st.one_of(TEXTS, VALUES), max_size=3)),
        "text_entities": VALUES,
        "forwarded_from": VALUES,
        "edited_unixtime": VALUES,
    },
)

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(tmp_path: Path, name: str, content: bytes) -> AlertFile:
    path = tmp_path / name
    path.write_bytes(content)
    file = read_alert_file(path, timezone="UTC")
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    assert len({alert.content_key for alert in file.alerts}) == len(file.alerts)
    for row in file.quarantined:
        (row.reason + row.raw_text).encode()
    for alert in file.alerts:
        json.dumps([alert.raw, alert.attributes, alert.caller_attributes], allow_nan=False).encode()
        f"{alert.caller}{alert.caller_name}{alert.symbol}{alert.chat_id}{alert.message_id}".encode()
    return file


@quick
@given(TEXTS)
def test_any_text_is_read_as_a_message(text: str) -> None:
    reading = read_message(text, (text,))
    assert len({named.token for named in reading.tokens}) == len(reading.tokens)
    read_figures(text, text)
    command_of(text)


@quick
@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", " ", "\n", ":", "$", "馬", "\u200b", "(", "—", ". "]))
def test_an_address_between_other_signs_is_always_found(content: bytes, sign: str) -> None:
    address = encode_base58(content)
    found = find_addresses(f"buy{sign or ' '}{address}{sign or ' '}now")
    if address != address.lower() and address != address.upper() and not any(e in address for e in ("pump", "bonk")):
        assert found == [FoundAddress(address, is_evm=False, note=None)]


@quick
@given(st.lists(ROWS, max_size=6))
@example([{"mint": MINT, "message": 7, "timestamp": [1]}])
def test_no_json_line_is_lost(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    content = "\n".join(json.dumps(row) for row in rows).encode()
    if not content.strip():
        return
    assert read(tmp_path, "rows.jsonl", content).rows_read >= len(rows)


@quick
@given(st.lists(st.lists(TEXTS, min_size=len(COLUMNS), max_size=len(COLUMNS)), max_size=4))
def test_no_csv_row_is_lost(tmp_path: Path, rows: list[list[str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [",".join(COLUMNS), *(",".join(map(quoted, row)) for row in rows)]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    assert read(tmp_path, "rows.csv", content).rows_read >= len(rows)


@quick
@given(st.lists(MESSAGES, max_size=6))
def test_no_exported_message_is_lost(tmp_path: Path, messages: list[dict[str, Any]]) -> None:
    content = json.dumps({"name": "chat", "id": 7, "messages": messages}, indent=1).encode()
    assert read(tmp_path, "result.json", content).rows_read >= len(messages)


@quick
@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_no_message_of_a_readable_export_is_lost(tmp_path: Path, texts: list[str]) -> None:
    parts = [
        f'<div class="message default" id="message{number}"><div class="date details" '
        'title="18.07.2025 14:50:51 UTC+00:00"></div><div class="from_name">A</div>'
        f'<div class="text">{text}</div></div>'
        for number, text in enumerate(texts)
    ]
    content = "\n".join(["<html>", *parts, "</html>"]).encode("utf-8", "surrogatepass")
    assert read(tmp_path, "messages.html", content).rows_read >= len(texts)


@quick
@given(
    st.sampled_from(["a.csv", "a.jsonl", "a.json", "a.html", "a.csv.gz", "a.json.gz"]), st.binary(max_size=300), TEXTS
)
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    for some in (content, text.encode("utf-8", "surrogatepass"), gzip.compress(content, mtime=0)):
        try:
            read(tmp_path, name, some)
        except DataError as error:
            message = str(error)
        else:
            continue
        assert "\n" not in message
        message.encode()


@quick
@given(st.lists(MESSAGES, max_size=4), st.integers(1, 40))
def test_json_comes_to_the_same_in_pieces_of_any_length(messages: list[dict[str, Any]], size: int) -> None:
    text = json.dumps(
        {"name": 'a "chat" {', "id": 1900000001, "messages": messages, "about": [1, {"b": "]"}]}, indent=1
    )
    whole = list(read_elements([text], is_message_list, file="f"))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(read_elements(pieces, is_message_list, file="f")) == whole
    assert sum(part.path == ("messages", "*") for part in whole) == len(messages)


@quick
@given(st.lists(TEXTS, max_size=4), st.integers(1, 40))
def test_html_comes_to_the_same_in_pieces_of_any_length(texts: list[str], size: int) -> None:
    text = "".join(f'<div class="message" id="message1"><div class="text">{one}</div></div>\n' for one in texts)
    whole = list(read_html_messages([text]))
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(read_html_messages(pieces)) == whole


@pytest.mark.parametrize("name", ["a.json", "a.html"])
def test_a_file_of_nothing_but_openings_is_read_in_time_by_its_length(tmp_path: Path, name: str) -> None:
    for content in (b"<" * 2_000_000, b"[" * 2_000_000, b'{"messages":[{' + b'"a":[' * 400_000, b"<div \"'" * 300_000):
        try:
            read(tmp_path, name, content)
        except DataError:
            continue
