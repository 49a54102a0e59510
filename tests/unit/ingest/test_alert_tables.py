"""Tables of alerts as they come: other column names, several times, several rows per call, other people's mistakes."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import AlertFile, ParsedAlert, read_alert_file, read_pool_map
from quantbot_pipeline.ingest.alerts.records import AddressKind
from quantbot_pipeline.ingest.tokens import TokenKey

BONK = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
PUMP = "9MLZegMaTpitzP3ps9eGUC4GwMLYv8pxTkMFuKhvpump"
POOL = "5iinRFMVtmHsFxqexarG2YT8xSzxb2NQbAbrhZMG9mf7"
EVM = "0x6979420908dd937df18c845a98939ed58e28b053"
NOON = datetime(2025, 12, 15, 12, 42, 42, tzinfo=UTC)


def read(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> AlertFile:
    path = tmp_path / "alerts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return checked(read_alert_file(path, **options))


def read_csv(tmp_path: Path, *lines: str, **options: Any) -> AlertFile:
    path = tmp_path / "alerts.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return checked(read_alert_file(path, **options))


def checked(file: AlertFile) -> AlertFile:
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    return file


def only(file: AlertFile) -> ParsedAlert:
    assert file.quarantined == ()
    (alert,) = file.alerts
    return alert


def only_reason(file: AlertFile) -> str:
    assert file.alerts == ()
    (row,) = file.quarantined
    return row.reason


def notes(alert: ParsedAlert) -> str:
    return " | ".join(alert.attributes.get("notes", ()))


def call(**changes: Any) -> dict[str, Any]:
    return {"caller": "Brook", "mint": BONK, "timestamp": "2025-12-15T12:42:42Z", **changes}


# ---- columns


@pytest.mark.parametrize(
    "header",
    [
        "caller,token_address,timestamp",
        "Sender,tokenAddress,TIMESTAMP",
        "caller_name,mint,alert_datetime",
        "Caller,mint_b58,call_time",
        "group,Token Address,alert_dt",
        " SENDER , TokenAddress , Timestamp ",
    ],
)
def test_columns_are_known_by_many_names_in_any_case(tmp_path: Path, header: str) -> None:
    alert = only(read_csv(tmp_path, header, f"Brook,{BONK},2025-12-15T12:42:42Z"))
    assert (alert.caller, alert.token, alert.alert_timestamp) == ("Brook", TokenKey("solana", BONK), NOON)


def test_unknown_columns_are_read_as_they_are_mapped(tmp_path: Path) -> None:
    columns = {"who": "caller", "Coin": "token_address", "at": "timestamp", "cap": "mcap"}
    lines = ("who,coin,at,cap,chain", f"Brook,{BONK},1765802562,71.75K,SOL")
    alert = only(read_csv(tmp_path, *lines, columns=columns))
    assert (alert.caller, alert.token.address, alert.alert_market_cap) == ("Brook", BONK, 71_750.0)


def test_a_mapped_field_has_no_other_column(tmp_path: Path) -> None:
    row = call(timestamp="mangled", seen="2025-12-15T12:42:42Z")
    assert only(read(tmp_path, row, columns={"seen": "timestamp"})).alert_timestamp == NOON
    assert "mangled" in only_reason(read(tmp_path, row))


def test_a_column_can_be_ignored(tmp_path: Path) -> None:
    row = call(mint=EVM, chain="bsc")
    assert only(read(tmp_path, row)).token.chain == "bsc"
    assert only(read(tmp_path, row, columns={"chain": "ignore"})).token.chain == "unknown-evm"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"x": "nonsense"}, "no field of an alert; allowed are caller"),
        ({"x": "caller", "X ": "chain"}, "mapped twice"),
        ({"gone": "caller"}, "is not there; found are 'caller'"),
    ],
)
def test_a_mapping_that_can_not_be_meant_is_refused(tmp_path: Path, columns: dict[str, str], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_csv(tmp_path, "caller,mint,timestamp", columns=columns)


@pytest.mark.parametrize(
    "column", ["max_gain", "gains_count", "Max_Multiplier_Reached", "PNL_Multiplier", "TimeToAth_Minutes", "Return_SOL"]
)
def test_what_became_of_a_call_never_becomes_a_field_of_it(tmp_path: Path, column: str) -> None:
    alert = only(read(tmp_path, call(**{column: "6.74"})))
    assert alert.raw[column] == "6.74"
    assert (alert.alert_price, alert.alert_market_cap, alert.confidence) == (None, None, None)
    assert "6.74" not in json.dumps(dict(alert.attributes))
    with pytest.raises(DataError, match="tells what became of the call"):
        read(tmp_path, call(), columns={column: "confidence"})


def test_defaults_of_a_file_stand_in_for_what_its_rows_do_not_say(tmp_path: Path) -> None:
    row = {"mint": EVM, "timestamp": "2025-12-15 23:42:42", "message_id": 7}
    options = {"caller": "machine", "chain": "base", "timezone": "Australia/Sydney", "chat": "-1001900000001"}
    alert = only(read(tmp_path, row, **options))
    assert (alert.caller, alert.caller_name, alert.token.chain) == ("machine", "machine", "base")
    assert (alert.alert_timestamp, alert.chat_id) == (NOON, "1900000001")
    stated = only(read(tmp_path, {**row, "caller": "Ann", "chain": "bsc", "chat_id": 5}, **options))
    assert (stated.caller, stated.token.chain, stated.chat_id) == ("Ann", "bsc", "5")
    assert only(read(tmp_path, {**row, "mint": BONK}, **options)).token.chain == "solana"


def test_symbols_and_names_alone_name_no_token(tmp_path: Path) -> None:
    """Hundreds of tokens share a symbol; which of them was called can't be known afterwards."""
    lines = ("date,token_name,token_symbol,call_mc", "2025-05-25 21:28:05+00:00,quant,quant,72.61K")
    assert only_reason(read_csv(tmp_path, *lines)).startswith("no token is named: no column holds addresses")
    options: dict[str, Any] = {"columns": {"token_symbol": "mint"}, "chain": "yobit", "caller": "bot"}
    alert = only(read_csv(tmp_path, *lines, **options))
    assert (alert.token, alert.alert_market_cap) == (TokenKey("yobit", "quant"), 72_610.0)


def test_a_pool_is_told_from_its_token(tmp_path: Path) -> None:
    """`address` and `pool_id` of a table of pools were taken for the token's."""
    row = {"pool_id": f"solana_{POOL}", "address": POOL, "caller": "gecko", "timestamp": 1765802562}
    alert = only(read(tmp_path, {**row, "base_token_id": PUMP, "network_id": "solana"}))
    assert (alert.token.address, alert.address_kind, alert.attributes["pool"]) == (PUMP, AddressKind.TOKEN, POOL)
    assert only(read(tmp_path, {**row, "base_token_id": f"solana_{PUMP}"})).token == TokenKey("solana", PUMP)
    alone = only(read(tmp_path, row))
    assert (alone.token.address, alone.address_kind) == (POOL, AddressKind.POOL)
    known = only(read(tmp_path, row, mints_of_pools={POOL: PUMP}))
    assert (known.token.address, known.address_kind, known.attributes["pool"]) == (PUMP, AddressKind.TOKEN, POOL)
    assert only(read(tmp_path, call(mint=POOL), mints_of_pools={POOL: PUMP})).token.address == PUMP


def test_a_file_of_pools_names_their_tokens(tmp_path: Path) -> None:
    path = tmp_path / "pools.csv"
    path.write_text(f"pool_address,name,base_mint\n{POOL},A / SOL,{PUMP}\n{EVM.upper().replace('X', 'x')},B,{EVM}\n")
    assert read_pool_map(path) == {POOL: PUMP, EVM: EVM}
    for rows, reason in ((f"{POOL},A,x", "must both be"), (f"{POOL},A,", "is empty"), (f"{POOL}", "1 fields")):
        path.write_text(f"pool_address,name,base_mint\n{rows}\n")
        with pytest.raises(DataError, match=reason):
            read_pool_map(path)
    with pytest.raises(DataError, match="must both be Solana"):
        read(tmp_path, call(), mints_of_pools={POOL: EVM})


# ---- times


@pytest.mark.parametrize(
    "times",
    [
        # One instant, 2025-12-15T12:42:42Z, as one table told it in three columns.
        {"alert_ts_ms": 1765802562000, "alert_datetime": "2025-12-15 23:42:42+11", "alert_dt": "2025-12-15 23:42:42"},
        {"alert_ts_ms": "1765802562000", "date": "2025-12-15", "time": "23:42:42"},
        {"timestamp": "2025-12-15T12:42:42Z", "date": "2025-12-16"},
        {"timestamp": "2025-12-15T12:42:42Z", "alert_dt": "2025-12-15 18:12"},
    ],
)
def test_several_times_of_one_row_are_one_instant(tmp_path: Path, times: dict[str, Any]) -> None:
    assert only(read(tmp_path, {"caller": "a", "mint": BONK, **times})).alert_timestamp == NOON


def test_the_finest_time_counts(tmp_path: Path) -> None:
    row = {"caller": "a", "mint": BONK, "alert_datetime": "2025-12-15 23:42:42+11", "alert_ts_ms": 1765802562345}
    assert only(read(tmp_path, row)).alert_timestamp == NOON.replace(microsecond=345000)


@pytest.mark.parametrize(
    "times",
    [
        {"alert_ts_ms": 1765802562000, "alert_datetime": "2025-12-15 23:42:42+10"},
        {"alert_ts_ms": 1765802562000, "alert_dt": "2025-12-15 23:42:52"},
        {"alert_ts_ms": 1765802562000, "alert_dt": "2025-12-16 23:42:42"},
        {"timestamp": "2025-12-15T12:42:42Z", "date": "2025-12-18"},
        {"timestamp": "2025-12-15T12:42:42Z", "call_time": "2025-12-15T12:42:43Z"},
    ],
)
def test_times_that_disagree_are_quarantined(tmp_path: Path, times: dict[str, Any]) -> None:
    assert "the times of the row disagree" in only_reason(read(tmp_path, {"caller": "a", "mint": BONK, **times}))


def test_a_naive_time_beside_an_instant_needs_not_be_of_the_zone_of_the_import(tmp_path: Path) -> None:
    row = call(timestamp=1765802562, alert_dt="2025-12-15 23:42:42")
    assert only(read(tmp_path, row, timezone="Australia/Sydney")).alert_timestamp == NOON
    assert only(read(tmp_path, row, timezone="UTC")).alert_timestamp == NOON


def test_date_and_hour_in_two_columns_are_one_naive_time(tmp_path: Path) -> None:
    lines = ("symbol,group,date,hour,mint", f"R,ATW,2018-01-01,16:00,{BONK}", f"R,ATW,2018-01-02,7,{BONK}")
    assert all("states no zone" in row.reason for row in read_csv(tmp_path, *lines).quarantined)
    alerts = read_csv(tmp_path, *lines, timezone="UTC").alerts
    assert [alert.alert_timestamp.isoformat() for alert in alerts] == [
        "2018-01-01T16:00:00+00:00",
        "2018-01-02T07:00:00+00:00",
    ]
    assert [alert.caller for alert in alerts] == ["ATW", "ATW"]


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"date": "2018-01-01"}, "has no time of day"),
        ({"date": "2018-W01-1"}, "has no time of day"),
        ({"hour": "16:00"}, "nothing tells the date"),
        ({"date": "2018-01-01", "hour": "25:00"}, "is not a time"),
        ({"date": "2018-02-30", "hour": "12:00"}, "is not a date"),
        # A spreadsheet kept minutes and seconds only.
        ({"collected_at": "41:57.8"}, "collected_at: timestamp '41:57.8' is not a time"),
        ({"timestamp": "10/3/2025 11:40"}, "does not tell the day from the month"),
        ({"timestamp": "x" * 1000}, "it has 1000 characters"),
    ],
)
def test_half_a_time_is_none(tmp_path: Path, times: dict[str, Any], reason: str) -> None:
    assert reason in only_reason(read(tmp_path, {"caller": "a", "mint": BONK, **times}, timezone="UTC"))


@pytest.mark.parametrize(("field", "month"), [("timestamp_mdy", 10), ("timestamp_dmy", 3)])
def test_slashed_dates_are_read_in_the_order_that_is_mapped(tmp_path: Path, field: str, month: int) -> None:
    row = {"caller": "a", "mint": BONK, "pool_created_at": "10/3/2025 11:40", "collected_at": "41:57.8"}
    alert = only(read(tmp_path, row, columns={"pool_created_at": field}, timezone="UTC"))
    assert alert.alert_timestamp == datetime(2025, month, 13 - month, 11, 40, tzinfo=UTC)


# ---- tokens, chains, figures


def test_the_chain_follows_from_the_address_where_none_is_named(tmp_path: Path) -> None:
    for chain in ("", None, "Unknown", "Solana", "SOL", "solana"):
        assert only(read(tmp_path, call(chain=chain))).token == TokenKey("solana", BONK)
    assert only(read(tmp_path, call(mint=EVM.upper().replace("X", "x")))).token == TokenKey("unknown-evm", EVM)


def test_the_message_wins_over_a_chain_column_that_says_otherwise(tmp_path: Path) -> None:
    """A public project wrote bsc beside every 0x address."""
    message = f"New sale on Base detected! https://example.org/presale/{EVM}?network=BaseAlways DYOR."
    alert = only(read(tmp_path, call(mint=EVM, chain="bsc", message=message)))
    assert alert.token.chain == "base"
    assert "the chain column says 'bsc'" in notes(alert)


def test_a_later_row_of_the_same_message_tells_it_no_figures(tmp_path: Path) -> None:
    first = call(message_id=7, chat_id=1)
    later = call(message_id=7, chat_id=1, timestamp="2025-12-17T12:42:42Z", price_at_alert=2.0, mcap_at_alert=5e6)
    alert = only(read(tmp_path, first, later))
    assert (alert.alert_timestamp, alert.alert_price, alert.alert_market_cap) == (NOON, None, None)
    assert "states another time" in notes(alert)
    alert = only(read(tmp_path, later, first | {"price_at_alert": 1.0, "mcap_at_alert": 3e6}))
    assert (alert.alert_price, alert.alert_market_cap) == (2.0, 5e6)


def test_a_false_solana_match_inside_an_evm_address_is_a_duplicate_of_the_real_one(tmp_path: Path) -> None:
    address = "0xb3266A162ecE373Bf27f22Dd7FBD28EabA7bA32d"
    first = call(mint=address, chain="bsc", message=f"on Base: {address}")
    file = read(tmp_path, first, {**first, "mint": address[1:], "chain": "solana"})
    assert file.duplicates == 1
    assert only(file).token == TokenKey("base", address.lower())
    assert "cut wrongly out of the message" in notes(only(file))


def test_an_address_that_was_cut_wrongly_out_of_its_message_is_mended_by_it(tmp_path: Path) -> None:
    wrong = "5kx6u1iN3bEUxWboawVS8uK745tBuhxSb8jApcYbonkG"
    alert = only(read(tmp_path, call(mint=wrong, message=f"{wrong}amble")))
    assert alert.token.address == wrong[:-1]
    assert wrong in notes(alert)


def test_an_ambiguous_message_is_quarantined_unless_the_column_is_one_of_its_readings(tmp_path: Path) -> None:
    run = "js71zMNmZ9EMvgyKtoafAxgqALKjdmM8qzTJGHB4EEbonk"
    spoilt = read(tmp_path, call(mint=run[:44], message=run))
    assert only_reason(spoilt).startswith("the address is ambiguous: 'js71")
    assert only(read(tmp_path, call(mint=run[2:], message=run))).token.address == run[2:]


def test_a_column_and_a_message_of_different_tokens_are_quarantined(tmp_path: Path) -> None:
    assert "and the message disagree" in only_reason(read(tmp_path, call(message=f"ape {PUMP}")))
    assert only(read(tmp_path, call(message=f"{PUMP} {BONK}"))).token.address == BONK
    assert only(read(tmp_path, call(message="low cap"))).token.address == BONK


def test_a_column_tells_the_token_of_a_pool_that_its_message_links(tmp_path: Path) -> None:
    message = f"https://dexscreener.com/solana/{POOL}"
    assert only(read(tmp_path, call(message=message))).address_kind is AddressKind.TOKEN
    linked = only(read(tmp_path, call(mint=POOL, message_preview=message)))
    assert (linked.token.address, linked.address_kind) == (POOL, AddressKind.POOL)


def test_commands_to_bots_are_no_calls(tmp_path: Path) -> None:
    file = read(tmp_path, call(message=f"/pnl {BONK}"), call(message=f"/th {BONK}"))
    assert [row.reason for row in file.quarantined] == ["not a call: bot command /pnl", "not a call: bot command /th"]


def test_a_table_of_messages_has_a_row_per_token_named(tmp_path: Path) -> None:
    row = {"sender": "a", "timestamp": 1765802562, "text": f"{BONK} {PUMP}"}
    file = read(tmp_path, row, {**row, "text": "gm"})
    assert file.rows_read == 3
    assert [alert.token.address for alert in file.alerts] == [BONK, PUMP]
    assert [row.reason for row in file.quarantined] == ["no token is named"]


def test_two_token_columns_must_agree(tmp_path: Path) -> None:
    assert only(read(tmp_path, call(token_address=BONK))).token.address == BONK
    assert "names several tokens" in only_reason(read(tmp_path, call(token_address=PUMP)))
    assert only(read(tmp_path, {**call(), "token": "FROGE"})).token.address == BONK


@pytest.mark.parametrize(
    ("written", "known"),
    [("3.6M", 3_600_000.0), ("71.75K", 71_750.0), ("1B", 1e9), ("$1,000", 1000.0), (999.99, None), ("3.2", None)],
)
def test_a_market_cap_keeps_its_unit_or_is_unknown(tmp_path: Path, written: str | float, known: float | None) -> None:
    alert = only(read(tmp_path, call(mcap=written)))
    assert alert.alert_market_cap == known
    assert ("states no unit" in notes(alert)) == (known is None)


# ---- who, and how often


def test_a_caller_is_an_id_where_the_table_has_one(tmp_path: Path) -> None:
    alert = only(read(tmp_path, call(caller_id="user6000000001")))
    assert (alert.caller, alert.caller_name) == ("user6000000001", "Brook")


def test_a_forward_header_is_no_part_of_the_callers_name(tmp_path: Path) -> None:
    written = "Wen Presale \n       \nGemPad Presale Alerts  19.07.2025 01:20:39"
    alert = only(read(tmp_path, call(caller=written)))
    assert (alert.caller, alert.caller_name) == ("Wen Presale", "Wen Presale")
    assert alert.caller_attributes["name_as_written"] == written
    assert alert.caller_attributes["forwarded_from"] == "GemPad Presale Alerts"


BOT_ROWS = (
    # Three bots' answers to one message, the lost unit, the bot's own message, and another call.
    call(message_id=1, chat_id=9, price=None, mcap=3.2, bot_reply_id=None),
    call(message_id=1, chat_id=9, price=None, mcap=None, chain="SOL", bot_reply_id=2),
    call(message_id=1, chat_id=9, price=0.0031908, mcap=3_200_000.0, ticker="FROGE", bot_reply_id=3),
    call(message_id=2, chat_id=9, price=0.9, caller="Phanes [Gold]", bot_reply_id=None),
    call(message_id=4, chat_id=9, mint=PUMP, price=0.5, bot_reply_id=None),
)


def test_three_bots_answers_to_one_message_are_one_alert(tmp_path: Path) -> None:
    file = read(tmp_path, *BOT_ROWS)
    assert (file.rows_read, file.duplicates, len(file.alerts)) == (5, 3, 2)
    first, second = file.alerts
    assert (first.alert_price, first.alert_market_cap, first.symbol) == (0.0031908, 3_200_000.0, "FROGE")
    assert second.alert_price == 0.5


def test_the_order_of_rows_changes_no_key(tmp_path: Path) -> None:
    rows = list(BOT_ROWS)
    keys = {alert.content_key for alert in read(tmp_path, *rows).alerts}
    for seed in range(10):
        random.Random(seed).shuffle(rows)  # noqa: S311 - an order, no secret
        file = read(tmp_path, *rows)
        assert {alert.content_key for alert in file.alerts} == keys
        assert file.duplicates == 3
        assert file.alerts[0].caller == "Brook"


def test_a_bots_message_that_answers_nothing_is_no_call(tmp_path: Path) -> None:
    row = call(caller="Phanes [Gold]", message_id=2)
    assert only_reason(read(tmp_path, row)).startswith("not a call: a bot's message")
    assert only(read(tmp_path, row, bots=())).caller == "Phanes [Gold]"
    assert "a bot's message" in only_reason(read(tmp_path, call(), bots=["BROOK"]))


def test_a_0x_address_is_one_alert_whether_its_chain_is_known_or_not(tmp_path: Path) -> None:
    row = call(mint=EVM, message_id=1)
    for order in ((row, {**row, "chain": "base"}), ({**row, "chain": "base"}, row)):
        file = read(tmp_path, *order)
        assert file.duplicates == 1
        assert only(file).token == TokenKey("base", EVM)
    both = only(read(tmp_path, {**row, "chain": "base"}, {**row, "chain": "bsc"}))
    assert both.token.chain == "base"
    assert "another chain: 'bsc'" in notes(both)


def test_the_same_message_id_of_another_chat_is_another_alert(tmp_path: Path) -> None:
    rows = (call(message_id=1, chat_id=5), call(message_id=1, chat_id=6), call(message_id=1, chat_id="-1005"))
    file = read(tmp_path, *rows)
    assert (len(file.alerts), file.duplicates) == (2, 1)


def test_a_list_of_objects_is_a_table_too(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    path.write_text(json.dumps([call(), call(caller="Ann"), 7, "x"], indent=1), encoding="utf-8")
    file = checked(read_alert_file(path))
    assert [(alert.line, alert.caller) for alert in file.alerts] == [(2, "Brook"), (7, "Ann")]
    assert [row.reason for row in file.quarantined] == ["the list holds something that is no object"] * 2


@pytest.mark.parametrize("field", ["caller", "ticker", "message", "chat_id", "message_id"])
@pytest.mark.parametrize(
    "text", ["'; drop table alerts; --", '<script>alert("x")</script>', "{{7*7}}", "%s\\n", "=1+1"]
)
def test_sql_and_html_in_a_text_stay_text(tmp_path: Path, field: str, text: str) -> None:
    alert = only(read(tmp_path, call(**{field: text})))
    values: Sequence[Any] = (alert.caller, alert.symbol, alert.chat_id, alert.message_id, alert.raw.get("message"))
    assert text in values
