"""Telegram's exports: calls, what bots answer to them, and what is no call."""

import json
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import AlertFile, ParsedAlert, read_alert_file
from quantbot_pipeline.ingest.tokens import TokenKey

BONK = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
PUMP = "9MLZegMaTpitzP3ps9eGUC4GwMLYv8pxTkMFuKhvpump"
POOL = "5iinRFMVtmHsFxqexarG2YT8xSzxb2NQbAbrhZMG9mf7"
EVM = "0x6979420908dd937df18c845a98939ed58e28b053"
# 2025-12-15T12:42:42Z.
CALLED_AT = 1765802562


def message(number: int, text: Any, *, at: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "type": "message",
        "date": f"2025-12-15T23:{42 + (42 + at) // 60:02d}:{(42 + at) % 60:02d}",
        "date_unixtime": str(CALLED_AT + at),
        "from": "Brook",
        "from_id": "user1",
        "text": text,
        **changes,
    }


def answer(number: int, text: Any, to: int, *, at: int = 2, name: str = "Rick") -> dict[str, Any]:
    return message(number, text, at=at, reply_to_message_id=to, **{"from": name, "from_id": "user9"})


def read(tmp_path: Path, *messages: Any, chat: dict[str, Any] | None = None, **options: Any) -> AlertFile:
    path = tmp_path / "result.json"
    export = {"name": "Calls", "type": "private_supergroup", "id": 1900000001, "messages": messages, **(chat or {})}
    path.write_text(json.dumps(export, indent=1), encoding="utf-8")
    return checked(read_alert_file(path, **options))


def read_html(tmp_path: Path, *messages: str, head: str = "", **options: Any) -> AlertFile:
    path = tmp_path / "messages.html"
    lines = ["<html><body><div class='history'>", head, *messages, "</div></body></html>"]
    path.write_text("\n".join(lines), encoding="utf-8")
    return checked(read_alert_file(path, **options))


def html_message(number: int, text: str, *, name: str | None = "Brook", inside: str = "", second: int = 42) -> str:
    joined = " joined" if name is None else ""
    author = f'<div class="from_name">\n{name} \n</div>' if name is not None else ""
    return (
        f'<div class="message default clearfix{joined}" id="message{number}"><div class="body">'
        f'<div class="pull_right date details" title="15.12.2025 23:42:{second} UTC+11:00">23:42</div>{author}'
        f'{inside}<div class="text">\n{text}\n</div></div></div>'
    )


def html_reply(number: int) -> str:
    return f'<div class="reply_to details">In reply to <a href="#go_to_message{number}">this message</a></div>'


def checked(file: AlertFile) -> AlertFile:
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    return file


def only(file: AlertFile) -> ParsedAlert:
    assert file.quarantined == ()
    (alert,) = file.alerts
    return alert


def reasons(file: AlertFile) -> list[str]:
    return [row.reason for row in file.quarantined]


FIGURES = f"🟢 FROGE\n{BONK}\n└ Solana\n💰 USD: $0.0035938\n💎 FDV: $3600K\n"


# ---- result.json


def test_a_message_with_an_address_is_a_call_of_its_sender(tmp_path: Path) -> None:
    alert = only(read(tmp_path, message(7, f"{BONK} low cap")))
    assert (alert.caller, alert.caller_name, alert.token) == ("user1", "Brook", TokenKey("solana", BONK))
    assert (alert.message_id, alert.chat_id) == ("7", "1900000001")
    assert alert.alert_timestamp.timestamp() == CALLED_AT
    assert alert.raw["text"] == f"{BONK} low cap"
    assert alert.line == 6


def test_a_bots_answer_tells_the_price_of_the_call_and_is_no_call_itself(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        message(7, BONK),
        answer(8, f"🟢 FROGE\n{BONK}\n└ SOL\n", 7, name="Phanes [Gold]"),
        answer(9, [{"type": "bold", "text": "FROGE"}, FIGURES], 7),
    )
    assert (file.rows_read, file.duplicates) == (3, 2)
    alert = only(file)
    assert (alert.alert_price, alert.alert_market_cap, alert.symbol) == (0.0035938, 3_600_000.0, "FROGE")


def test_a_bots_answer_may_stand_before_the_call_and_name_no_address(tmp_path: Path) -> None:
    file = read(tmp_path, answer(9, "USD: $2", 7), message(7, BONK))
    assert (file.duplicates, only(file).alert_price) == (1, 2.0)


def test_a_bots_late_answer_tells_what_nobody_knew_at_the_call(tmp_path: Path) -> None:
    """Bots answer old calls with what became of them: as the call's price that would be look-ahead."""
    file = read(tmp_path, message(7, BONK), answer(8, FIGURES, 7, at=301))
    alert = only(file)
    assert (file.duplicates, alert.alert_price, alert.alert_market_cap) == (1, None, None)
    assert "301 s after the call was not used" in alert.attributes["notes"][0]
    assert only(read(tmp_path, message(7, BONK), answer(8, FIGURES, 7, at=300))).alert_price == 0.0035938


def test_a_bots_answer_about_another_token_enriches_nothing(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, PUMP), answer(8, FIGURES, 7))
    assert [alert.alert_price for alert in file.alerts] == [None]
    assert f"it is about {BONK}, which the call that it answers does not name" in reasons(file)[0]


def test_a_bots_message_that_answers_no_call_is_none(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, "gm"), answer(8, FIGURES, 7), message(9, FIGURES, **{"from": "Rick"}))
    assert file.alerts == ()
    assert reasons(file) == [
        "no token is named",
        "not a call: a bot's message: it answers no message that is a call",
        "not a call: a bot's message: it answers no message",
    ]


def test_a_person_with_a_bots_name_can_call(tmp_path: Path) -> None:
    assert only(read(tmp_path, message(7, BONK, **{"from": "Rick"}))).caller_name == "Rick"


def test_a_bot_can_be_named_by_its_id(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, BONK), answer(8, FIGURES, 7, name="Figures"), bots=["user9"])
    assert (file.duplicates, only(file).alert_price) == (1, 0.0035938)


def test_a_bots_answer_tells_the_chain_that_the_call_did_not(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, EVM), answer(8, f"{EVM}\n└ Base", 7))
    assert only(file).token == TokenKey("base", EVM)
    assert only(read(tmp_path, message(7, EVM))).token.chain == "unknown-evm"
    assert only(read(tmp_path, message(7, EVM), chain="base")).token.chain == "base"


def test_pins_commands_and_talk_are_no_calls(tmp_path: Path) -> None:
    service = {"id": 1, "type": "service", "date_unixtime": "1765436400", "action": "pin_message", "text": ""}
    file = read(tmp_path, service, message(2, f"/pnl {BONK}"), message(3, "gm"), message(4, ""))
    assert reasons(file) == [
        "not a call: service message",
        "not a call: bot command /pnl",
        "no token is named",
        "no token is named",
    ]
    assert [row.line for row in file.quarantined] == sorted(row.line for row in file.quarantined)


@pytest.mark.parametrize(
    "text",
    [
        [{"type": "code", "text": BONK}, "watching"],
        ["ape ", {"type": "pre", "text": BONK, "language": ""}, "now"],
        [{"type": "bold", "text": BONK[:10]}, BONK[10:]],
        [{"type": "text_link", "text": "chart", "href": f"https://pump.fun/coin/{BONK}"}],
        f"line\n{BONK}\n\u00a0line",
    ],
)
def test_an_address_is_found_in_every_kind_of_piece(tmp_path: Path, text: Any) -> None:
    assert only(read(tmp_path, message(7, text))).token.address == BONK


def test_text_entities_stand_in_for_a_text_that_is_missing(tmp_path: Path) -> None:
    entities = [{"type": "code", "text": BONK}, {"type": "plain", "text": "now"}]
    assert only(read(tmp_path, message(7, "", text_entities=entities))).token.address == BONK


def test_a_message_is_a_row_per_token_that_it_names(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, f"{BONK} {PUMP} {BONK}"), answer(8, FIGURES, 7))
    assert file.rows_read == 3
    assert [(alert.token.address, alert.alert_price) for alert in file.alerts] == [(BONK, 0.0035938), (PUMP, None)]


def test_what_a_message_forwards_and_when_it_was_edited_is_kept(tmp_path: Path) -> None:
    alert = only(read(tmp_path, message(7, BONK, forwarded_from="Other", edited_unixtime="1765809999")))
    assert (alert.attributes["forwarded_from"], alert.attributes["edited_at"]) == ("Other", "1765809999")
    assert alert.caller_name == "Brook"


def test_a_deleted_account_is_still_a_caller(tmp_path: Path) -> None:
    alert = only(read(tmp_path, message(7, BONK, **{"from": None})))
    assert (alert.caller, alert.caller_name) == ("user1", "user1")
    nobody = message(7, BONK, **{"from": None, "from_id": None})
    assert reasons(read(tmp_path, nobody)) == ["caller is empty"]


def test_the_local_time_beside_the_epoch_must_fit_it(tmp_path: Path) -> None:
    assert "disagree" in reasons(read(tmp_path, message(7, BONK, date="2025-12-15T23:43:00")))[0]
    naive = message(7, BONK, date_unixtime=None)
    assert "states no zone" in reasons(read(tmp_path, naive))[0]
    assert only(read(tmp_path, naive, timezone="Australia/Sydney")).alert_timestamp.timestamp() == CALLED_AT


def test_an_export_of_all_chats_keeps_them_apart(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    chats = [
        {"name": "A", "id": 5, "messages": [message(7, BONK), message(8, PUMP)]},
        # Here the id comes after the messages, and the bot answers a message of this chat.
        {"messages": [message(7, BONK), answer(9, FIGURES, 7)], "name": "B", "id": 6},
    ]
    path.write_text(json.dumps({"about": "x", "chats": {"list": chats}, "left_chats": {"list": []}}))
    file = checked(read_alert_file(path))
    assert [(alert.chat_id, alert.message_id, alert.alert_price) for alert in file.alerts] == [
        ("5", "7", None),
        ("5", "8", None),
        ("6", "7", 0.0035938),
    ]


def test_a_table_and_an_export_of_one_chat_hold_the_same_alerts(tmp_path: Path) -> None:
    exported = only(read(tmp_path, message(7, BONK)))
    table = tmp_path / "a.csv"
    table.write_text(f"caller,mint,timestamp,chat_id,message_id\nBrook,{BONK},{CALLED_AT},-1001900000001,7\n")
    assert only(read_alert_file(table)).content_key == exported.content_key
    page = only(read_html(tmp_path, html_message(7, BONK), chat="1900000001"))
    assert page.content_key == exported.content_key


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("7", "is no JSON object or list"),
        ("gm", "is no JSON object or list"),
        (" \n ", "holds no JSON object or list"),
        ("[}", "closes nothing"),
        ('{"a":' * 100, "nested more than 32 levels"),
        ('{"name": "' + "x" * 20_000 + '"}', "more than 10000 characters"),
        ('{"alerts": [{"caller": "Brook", "mint": "x"}]}', "neither a list of rows nor the 'messages'"),
        ("{}", "neither a list of rows nor the 'messages'"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(DataError, match=reason):
        read_alert_file(path)


def test_an_export_without_messages_is_a_file_without_rows(tmp_path: Path) -> None:
    assert read(tmp_path).rows_read == 0
    (tmp_path / "rows.json").write_text("[]")
    assert read_alert_file(tmp_path / "rows.json").rows_read == 0


def test_a_page_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no message of an exported chat"):
        read_html(tmp_path, f"<p>buy {BONK}</p>")


def test_an_export_that_was_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    read(tmp_path, message(7, BONK), message(8, PUMP))
    path = tmp_path / "result.json"
    text = path.read_text()
    path.write_text(text[: text.index(PUMP) + 10])
    file = checked(read_alert_file(path))
    assert [alert.token.address for alert in file.alerts] == [BONK]
    assert reasons(file) == ["the file ends within this element: it is cut off"]
    path.write_text(text[: text.rindex("}") - 4])
    assert len(read_alert_file(path).alerts) == 2
    assert "before its last bracket" in reasons(read_alert_file(path))[0]


def test_what_is_no_message_among_the_messages_is_counted(tmp_path: Path) -> None:
    file = read(tmp_path, message(7, BONK), 5, None, "text", [], {"id": [1]})
    assert (len(file.alerts), len(file.quarantined)) == (1, 5)
    assert reasons(file).count("the list of messages holds something that is no message") == 3


# ---- messages.html


def test_a_readable_export_gives_the_same_as_the_machine_readable_one(tmp_path: Path) -> None:
    bold = f"<strong>FROGE</strong>{escape(FIGURES).replace(chr(10), '<br>')}"
    file = read_html(
        tmp_path,
        '<div class="message service" id="message1"><div class="body details">pinned a message</div></div>',
        html_message(7, f"<code>{BONK}</code>watching"),
        html_message(8, bold, name="Rick", inside=html_reply(7), second=44),
        html_message(9, f"/pnl {BONK}"),
    )
    (alert,) = file.alerts
    assert (alert.caller, alert.message_id, alert.alert_timestamp.timestamp()) == ("Brook", "7", CALLED_AT)
    assert (alert.alert_price, alert.alert_market_cap, alert.symbol) == (0.0035938, 3_600_000.0, "FROGE")
    assert file.duplicates == 1
    assert reasons(file) == ["not a call: service message", "not a call: bot command /pnl"]


def test_a_joined_message_is_of_the_person_before_it(tmp_path: Path) -> None:
    file = read_html(tmp_path, html_message(7, BONK, name="Ann"), html_message(8, PUMP, name=None))
    assert [alert.caller for alert in file.alerts] == ["Ann", "Ann"]


def test_a_forwarded_message_is_of_who_forwards_it_and_of_that_time(tmp_path: Path) -> None:
    """The name and the date of what is forwarded stand inside the message, in the same classes."""
    forwarded = (
        '<div class="message default" id="message9"><div class="body"><div class="pull_right date details" '
        'title="16.12.2025 00:10:00 UTC+11:00">00:10</div><div class="from_name">TY</div><div class="forwarded body">'
        '<div class="from_name">Rise &amp; Reign <span class="date details" title="23.11.2025 12:09:19 UTC+11:00"> '
        f'23.11.2025 12:09:19</span></div><div class="text">{BONK} maybe</div></div></div></div>'
    )
    for page in (forwarded, forwarded.replace("span", "div")):
        alert = only(read_html(tmp_path, page))
        assert (alert.caller, alert.attributes["forwarded_from"]) == ("TY", "Rise & Reign")
        assert alert.alert_timestamp.isoformat() == "2025-12-15T13:10:00+00:00"
    # Without a date of its own the message has none, whatever it forwards.
    undated = forwarded.replace('date details" title="16.12.2025 00:10:00 UTC+11:00"', '"').replace("span", "div")
    assert reasons(read_html(tmp_path, undated)) == ["timestamp is empty"]


def test_hidden_links_and_names_via_bots_are_read(tmp_path: Path) -> None:
    text = f'<a href="https://dexscreener.com/solana/{POOL}">chart &amp; more</a>'
    alert = only(read_html(tmp_path, html_message(7, text, name="Cobalt via @gif")))
    assert (alert.caller, alert.token.address, alert.address_kind) == ("Cobalt", POOL, "pool")
    assert alert.caller_attributes["via_bot"] == "@gif"


def test_older_exports_without_an_offset_need_a_zone(tmp_path: Path) -> None:
    page = html_message(7, BONK).replace(" UTC+11:00", "")
    assert "states no zone" in reasons(read_html(tmp_path, page))[0]
    assert only(read_html(tmp_path, page, timezone="Australia/Sydney")).alert_timestamp.timestamp() == CALLED_AT


def test_chats_are_told_apart_by_their_title_where_there_is_no_id(tmp_path: Path) -> None:
    head = '<div class="page_header"><div class="content"><div class="text bold">\n{} \n</div></div></div>'
    first = only(read_html(tmp_path, html_message(7, BONK), head=head.format("Calls &amp; more")))
    other = only(read_html(tmp_path, html_message(7, BONK), head=head.format("Others")))
    assert first.chat_id == "Calls & more"
    assert first.content_key != other.content_key


def test_html_and_sql_in_messages_stay_text(tmp_path: Path) -> None:
    written = f"<script>alert(1)</script> '; drop table alerts; -- {BONK} < > \" &lt;"
    alert = only(read_html(tmp_path, html_message(7, escape(written), name=escape("<b>O'Brien</b>"))))
    assert alert.raw["text"] == written
    assert alert.caller_name == "<b>O'Brien</b>"
    assert only(read(tmp_path, message(7, written))).raw["text"] == written


def test_broken_html_loses_no_message(tmp_path: Path) -> None:
    unclosed = html_message(7, BONK).removesuffix("</div></div></div>")
    file = read_html(tmp_path, unclosed, html_message(8, f"a < b {PUMP} <unclosed"), html_message(9, "<<<>>>"))
    assert [alert.token.address for alert in file.alerts] == [BONK, PUMP]
    path = tmp_path / "messages.html"
    path.write_text(html_message(7, BONK) + html_message(8, PUMP)[:-30])
    assert "cut off" in reasons(checked(read_alert_file(path)))[0]


def test_a_lone_surrogate_or_nul_is_quarantined_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for bad in ("\\ud83d", "\\u0000"):
        path.write_text(json.dumps({"messages": [message(7, BONK + " X")]}).replace(" X", f" {bad}"))
        (row,) = checked(read_alert_file(path)).quarantined
        assert "NUL character, half of a surrogate pair" in row.reason


# ---- edits


def test_an_edited_message_counts_from_its_edit_because_the_address_may_have_come_with_it(tmp_path: Path) -> None:
    first = read(tmp_path, message(1, f"watch {PUMP}"))
    edited = read(
        tmp_path,
        message(1, f"watch {PUMP}", edited="2025-12-16T00:42:42", edited_unixtime=str(CALLED_AT + 3600)),
    )
    (before,), (after,) = first.alerts, edited.alerts
    assert after.alert_timestamp.timestamp() == CALLED_AT + 3600
    assert after.attributes["sent_at"] == "2025-12-15T12:42:42+00:00"
    assert after.attributes["notes"] == ["the message was edited: the alert counts from the time of its last edit"]
    assert after.content_key == before.content_key
    assert "sent_at" not in before.attributes


def test_an_edit_makes_no_other_alert_of_a_message_without_id(tmp_path: Path) -> None:
    plain = {key: value for key, value in message(1, PUMP).items() if key != "id"}
    edited = {**plain, "edited_unixtime": str(CALLED_AT + 60)}
    assert read(tmp_path, plain).alerts[0].content_key == read(tmp_path, edited).alerts[0].content_key


@pytest.mark.parametrize("edits", [{"edited_unixtime": "0"}, {"edited": "1970-01-01T11:00:00"}, {"edited": ""}])
def test_a_message_that_says_it_was_never_edited_keeps_its_time(tmp_path: Path, edits: dict[str, Any]) -> None:
    (alert,) = read(tmp_path, message(1, PUMP, **edits)).alerts
    assert alert.alert_timestamp.timestamp() == CALLED_AT


def test_an_edit_whose_time_can_not_be_read_is_quarantined(tmp_path: Path) -> None:
    (row,) = read(tmp_path, message(1, PUMP, edited_unixtime="soon")).quarantined
    assert row.reason.startswith("edited_unixtime: timestamp 'soon' is not a time")


def test_a_bots_answer_that_was_edited_late_tells_no_figures(tmp_path: Path) -> None:
    late = {**answer(2, f"{PUMP} USD: $0.002", 1), "edited_unixtime": str(CALLED_AT + 301)}
    (alert,) = read(tmp_path, message(1, PUMP), late).alerts
    assert alert.alert_price is None


def test_a_bots_answer_from_before_the_calls_edit_tells_no_figures(tmp_path: Path) -> None:
    called = message(1, PUMP, edited_unixtime=str(CALLED_AT + 600))
    (alert,) = read(tmp_path, called, answer(2, f"{PUMP} USD: $0.002", 1)).alerts
    assert alert.alert_price is None
    assert "a bot's answer 598 s before the call was not used" in alert.attributes["notes"][-1]


# ---- sales and warnings


@pytest.mark.parametrize(
    "text",
    [
        f"sell {PUMP}",
        f"SOLD half of {PUMP} here",
        f"{PUMP} exiting now",
        f"I'm out, taking profits on {PUMP}",
        f"{PUMP} tp hit",
        f"closed my position {PUMP}",
        f"selling {PUMP} that I bought yesterday",
    ],
)
def test_a_message_that_sells_a_token_is_an_exit(tmp_path: Path, text: str) -> None:
    (alert,) = read(tmp_path, message(1, text)).alerts
    assert (alert.side, alert.signal_type) == ("sell", "exit")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"dont buy {PUMP} it is a rug", "dont buy"),
        (f"Don\u2019t buy {PUMP}", "don't buy"),
        (f"do not buy {PUMP}", "do not buy"),
        (f"{PUMP} AVOID", "avoid"),
        (f"{PUMP} rugged", "rugged"),
        (f"{PUMP} is a honeypot", "honeypot"),
        (f"scam: {PUMP}", "scam"),
    ],
)
def test_a_message_that_warns_of_a_token_is_no_call(tmp_path: Path, text: str, words: str) -> None:
    file = read(tmp_path, message(1, text))
    assert file.alerts == ()
    (row,) = file.quarantined
    assert row.reason == f"not a call: the message warns ({words!r})"


@pytest.mark.parametrize(
    "text",
    [
        f"don't sell {PUMP}",
        f"not selling {PUMP}",
        f"never going to sell {PUMP}",
        f"bought {PUMP}, will sell at 2x",
        f"buy {PUMP} take profit at 3x",
        f"dev sold, CTO now {PUMP}",
        f"sell tax 0 {PUMP}",
        f"{PUMP} no exit liquidity here",
        f"$SELL {PUMP}",
        f"$RUG #scam @exit {PUMP}",
        f"https://pump.fun/sell/scam {PUMP}",
        f"https://pump.fun/coin/{PUMP}?rug=scam",
        f"not a scam {PUMP}",
        f"{PUMP} no rug, unruggable",
        f"drugged reseller {PUMP}",
        PUMP,
    ],
)
def test_everything_else_that_names_a_token_is_an_entry(tmp_path: Path, text: str) -> None:
    (alert,) = read(tmp_path, message(1, text)).alerts
    assert (alert.side, alert.signal_type) == ("buy", "entry")


def test_a_column_that_tells_the_side_counts_before_the_words(tmp_path: Path) -> None:
    path = tmp_path / "alerts.csv"
    path.write_text(
        "caller,timestamp,side,message\n"
        f"ann,2025-12-15T12:42:42Z,buy,sell {PUMP}\n"
        f"ann,2025-12-15T12:42:43Z,,sell {PUMP}\n"
    )
    assert [alert.side for alert in read_alert_file(path).alerts] == ["buy", "sell"]


def test_an_alert_later_than_a_day_after_now_is_quarantined(tmp_path: Path) -> None:
    # The second message is a day and a second after the present, the first exactly a day.
    now = datetime.fromtimestamp(CALLED_AT, UTC) - timedelta(days=1)
    file = read(tmp_path, message(1, PUMP), message(2, PUMP, at=1), now=now)
    assert [alert.message_id for alert in file.alerts] == ["1"]
    (row,) = file.quarantined
    assert row.reason == ("timestamp 2025-12-15T12:42:43Z lies in the future; allowed are times up to a day after now")
    assert len(read(tmp_path, message(1, PUMP), message(2, PUMP, at=1)).alerts) == 2


def test_a_row_of_a_table_later_than_a_day_after_now_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "alerts.csv"
    path.write_text(f"caller,timestamp,ca\nann,2030-01-01T00:00:00Z,{PUMP}\n")
    assert len(read_alert_file(path, now=datetime(2029, 12, 30, tzinfo=UTC)).quarantined) == 1
    assert len(read_alert_file(path).alerts) == 1


def test_a_page_whose_chat_is_not_named_says_that_its_alerts_join_no_others(tmp_path: Path) -> None:
    (note,) = read_html(tmp_path, html_message(1, PUMP)).notes
    assert "names no chat id" in note
    assert "--chat" in note
    assert read_html(tmp_path, html_message(1, PUMP), chat="1900000001").notes == ()
    assert read(tmp_path, message(1, PUMP)).notes == ()


def test_a_bot_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bot '' is no usable name"):
        read(tmp_path, message(1, PUMP), bots=[""])


def test_a_mapping_of_columns_is_refused_for_a_chat_which_has_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an exported chat has no columns, found a mapping of 'x'"):
        read(tmp_path, message(1, PUMP), columns={"x": "caller"})
    with pytest.raises(DataError, match="an exported chat has no columns"):
        read_html(tmp_path, html_message(1, PUMP), columns={"x": "caller"})
