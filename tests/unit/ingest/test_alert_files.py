"""Alert files in, typed alerts out."""

import gzip
import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import AlertFile, read_alert_file
from quantbot_pipeline.ingest.tokens import TokenKey

MINT = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"
ROW = f"Brook,{MINT},solana,2025-07-18T14:50:51.000Z,0.0035938,3600000.0"
FIELDS: dict[str, Any] = {
    "caller": "Brook",
    "token_address": MINT,
    "chain": "solana",
    "timestamp": "2025-07-18T14:50:51Z",
    "price_at_alert": 0.0035938,
    "mcap_at_alert": 3600000,
}


def read_csv(tmp_path: Path, *rows: str, header: str = HEADER, timezone: str | None = None) -> AlertFile:
    path = tmp_path / "alerts.csv"
    path.write_bytes(("\n".join([header, *rows]) + "\n").encode("utf-8", "surrogateescape"))
    return checked(read_alert_file(path, timezone=timezone))


def read_lines(tmp_path: Path, *lines: str | dict[str, Any], source: str = "file") -> AlertFile:
    path = tmp_path / "alerts.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_bytes(("\n".join(texts) + "\n").encode("utf-8", "surrogatepass"))
    return checked(read_alert_file(path, source=source))


def checked(file: AlertFile) -> AlertFile:
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    return file


def only_reason(file: AlertFile, field: str | None) -> str:
    (row,) = file.quarantined
    assert file.alerts == ()
    assert row.field == field
    return row.reason


def test_csv_row_becomes_an_alert(tmp_path: Path) -> None:
    (alert,) = read_csv(tmp_path, ROW).alerts
    assert alert.line == 2
    assert alert.source == "file"
    assert alert.caller == "Brook"
    assert alert.token == TokenKey("solana", MINT)
    assert (alert.side, alert.signal_type) == (Side.BUY, SignalType.ENTRY)
    assert alert.alert_timestamp == datetime(2025, 7, 18, 14, 50, 51, tzinfo=UTC)
    assert (alert.alert_price, alert.alert_market_cap) == (0.0035938, 3600000.0)
    assert (alert.symbol, alert.confidence, alert.message_id) == (None, None, None)
    assert alert.raw == dict(zip(HEADER.split(","), ROW.split(","), strict=True))


def test_json_line_becomes_the_same_alert_as_the_csv_row(tmp_path: Path) -> None:
    (from_csv,) = read_csv(tmp_path, ROW).alerts
    (from_json,) = read_lines(tmp_path, FIELDS).alerts
    assert from_json.content_key == from_csv.content_key
    assert from_json.raw == FIELDS


def test_optional_columns_are_read(tmp_path: Path) -> None:
    fields = {"symbol": " FROGE ", "side": "BUY", "signal_type": "Scale_In", "confidence": 0.75, "message_id": 149689}
    (alert,) = read_lines(tmp_path, FIELDS | fields).alerts
    assert alert.symbol == "FROGE"
    assert (alert.side, alert.signal_type) == (Side.BUY, SignalType.SCALE_IN)
    assert (alert.confidence, alert.message_id) == (0.75, "149689")


@pytest.mark.parametrize(
    ("given", "side", "signal_type"),
    [
        ({}, Side.BUY, SignalType.ENTRY),
        ({"side": "sell"}, Side.SELL, SignalType.EXIT),
        ({"signal_type": "exit"}, Side.SELL, SignalType.EXIT),
        ({"signal_type": "scale_out"}, Side.BUY, SignalType.SCALE_OUT),
        ({"side": None, "signal_type": ""}, Side.BUY, SignalType.ENTRY),
    ],
)
def test_direction_that_is_not_stated_follows_from_what_is(
    tmp_path: Path, given: dict[str, str | None], side: Side, signal_type: SignalType
) -> None:
    (alert,) = read_lines(tmp_path, FIELDS | given).alerts
    assert (alert.side, alert.signal_type) == (side, signal_type)


def test_price_and_market_cap_may_be_empty(tmp_path: Path) -> None:
    (alert,) = read_csv(tmp_path, f"Brook,{MINT},SOL,2025-07-18T14:50:51Z,, ").alerts
    assert (alert.alert_price, alert.alert_market_cap) == (None, None)
    without = {name: value for name, value in FIELDS.items() if not name.endswith("_at_alert")}
    assert len(read_lines(tmp_path, without, FIELDS | {"price_at_alert": None, "mcap_at_alert": ""}).alerts) == 1


def test_tiny_prices_keep_every_digit(tmp_path: Path) -> None:
    (alert,) = read_csv(tmp_path, ROW.replace("0.0035938", "4.6105945158244795e-13")).alerts
    assert alert.alert_price == 4.6105945158244795e-13


def test_microseconds_are_kept(tmp_path: Path) -> None:
    (alert,) = read_csv(tmp_path, ROW.replace("51.000Z", "51.123456Z")).alerts
    assert alert.alert_timestamp.microsecond == 123456


def test_caller_is_trimmed_and_keeps_emoji_and_inner_blanks(tmp_path: Path) -> None:
    written = '"\u200b Brook  💀🧲\r\n  forwarded \n\n"'
    (alert,) = read_csv(tmp_path, ROW.replace("Brook", written)).alerts
    assert alert.caller == "Brook  💀🧲 forwarded"
    assert alert.raw["caller"] == "\u200b Brook  💀🧲\r\n  forwarded \n\n"


def test_emoji_joined_without_width_stay_whole(tmp_path: Path) -> None:
    (alert,) = read_csv(tmp_path, ROW.replace("Brook", "👩\u200d💻")).alerts
    assert alert.caller == "👩\u200d💻"


def test_line_is_where_a_record_with_quoted_line_ends_starts(tmp_path: Path) -> None:
    file = read_csv(tmp_path, ROW.replace("Brook", '"two\nlines"'), ROW.replace(MINT, "bad"), ROW)
    assert [alert.line for alert in file.alerts] == [2, 5]
    assert [row.line for row in file.quarantined] == [4]


def test_exact_repeats_are_duplicates_of_the_first(tmp_path: Path) -> None:
    file = read_csv(tmp_path, ROW, ROW.replace("Brook", "LSY"), ROW)
    assert [alert.line for alert in file.alerts] == [2, 3]
    assert file.duplicates == 1


@pytest.mark.parametrize(
    "same",
    [
        ROW.replace("solana", "SOL"),
        ROW.replace("Brook", " Brook "),
        ROW.replace("2025-07-18T14:50:51.000Z", "1752850251"),
        ROW.replace("2025-07-18T14:50:51.000Z", "2025-07-19 01:50:51+11"),
        ROW.replace("0.0035938", "3.5938e-3"),
        ROW.replace("3600000.0", "3600000"),
    ],
)
def test_another_spelling_of_the_same_alert_is_a_duplicate(tmp_path: Path, same: str) -> None:
    assert read_csv(tmp_path, ROW, same).duplicates == 1


@pytest.mark.parametrize(
    "other",
    [
        ROW.replace("Brook", "brook"),
        ROW.replace("solana", "binance"),
        ROW.replace("51.000Z", "51.001Z"),
        ROW.replace("0.0035938", "0.0035939"),
        ROW.replace("0.0035938", ""),
        ROW.replace("3600000.0", ""),
    ],
)
def test_an_alert_that_says_something_else_is_another_alert(tmp_path: Path, other: str) -> None:
    assert len(read_csv(tmp_path, ROW, other).alerts) == 2


def test_rows_of_one_message_are_one_alert_per_token(tmp_path: Path) -> None:
    """Several bots answer one message, each with a row of its own; a message may also name two tokens."""
    first = FIELDS | {"message_id": "149689"}
    file = read_lines(
        tmp_path,
        first,
        first | {"price_at_alert": None, "chain": "SOL"},
        first | {"chain": "binance", "token_address": "BONK_USDT"},
        first | {"message_id": 149690},
        # Of a data frame whose column has an empty cell.
        first | {"message_id": 149690.0},
    )
    assert [alert.line for alert in file.alerts] == [1, 3, 4]
    assert file.duplicates == 2


def test_the_same_row_of_another_source_is_another_alert(tmp_path: Path) -> None:
    (here,) = read_lines(tmp_path, FIELDS).alerts
    (there,) = read_lines(tmp_path, FIELDS, source="telegram").alerts
    assert there.source == "telegram"
    assert there.content_key != here.content_key


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (ROW.replace("Brook", ""), "caller", "caller is empty"),
        (ROW.replace("Brook", " \u200b "), "caller", "caller is empty"),
        (ROW.replace("Brook", "x" * 201), "caller", "201 characters; at most 200"),
        (ROW.replace("bonk,", "bonkwatching,"), "token_address", "52 characters"),
        (ROW.replace(MINT, MINT.lower()), "token_address", "not base58"),
        (ROW.replace("solana", "base"), "token_address", "0x followed by 40 hex digits"),
        (ROW.replace(f"{MINT},solana", "BONK_USDT,"), "chain", "chain is empty"),
        (ROW.replace("solana", "so/lana"), "chain", "no usable name"),
        (ROW.replace(MINT, " "), "token_address", "token_address is empty"),
        (ROW.replace("51.000Z", "51.000"), "timestamp", "states no zone"),
        (ROW.replace("2025-07-18T14:50:51.000Z", "2025-07-18"), "timestamp", "no time of day"),
        (ROW.replace("2025-07-18T14:50:51.000Z", "noon"), "timestamp", "not a time"),
        (ROW.replace("2025-07-18T14:50:51.000Z", ""), "timestamp", "timestamp is empty"),
        (ROW.replace("2025-07-18T14:50:51.000Z", "1752850"), "timestamp", "outside 2009 to 2099"),
        (ROW.replace("0.0035938", "-1"), "price_at_alert", "must be above 0"),
        (ROW.replace("0.0035938", "0"), "price_at_alert", "leave it empty"),
        (ROW.replace("0.0035938", "nan"), "price_at_alert", "not finite"),
        (ROW.replace("0.0035938", "inf"), "price_at_alert", "not finite"),
        (ROW.replace("0.0035938", "1e999"), "price_at_alert", "beyond the range"),
        (ROW.replace("3600000.0", "3.6Q"), "mcap_at_alert", "'3.6Q' is not a number"),
        (ROW.replace("3600000.0", '"1.234,5"'), "mcap_at_alert", "is not a number"),
        (ROW.replace("3600000.0", "3_600_000"), "mcap_at_alert", "is not a number"),
        (ROW + ",surplus", None, "7 fields, the header has 6"),
        ("garbage", None, "1 fields, the header has 6"),
        (ROW.replace("Brook", "Br\udce9ok"), None, "not UTF-8"),
        (ROW.replace("Brook", "Br\x00ok"), None, "NUL"),
    ],
)
def test_bad_csv_row_is_quarantined_with_field_and_reason(
    tmp_path: Path, row: str, field: str | None, reason: str
) -> None:
    file = read_csv(tmp_path, row)
    assert reason in only_reason(file, field)
    assert file.quarantined[0].line == 2
    assert file.quarantined[0].file == str(tmp_path / "alerts.csv")
    assert file.quarantined[0].raw_text == row.replace("\udce9", "\\xe9").replace("\x00", "\\x00")


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ('{"caller": "Brook"', None, "not JSON"),
        ("[1, 2]", None, "a list; a JSON object is allowed"),
        ("null", None, "null; a JSON object is allowed"),
        ("[" * 100_000, None, "nested too deeply"),
        ('{"caller": "a", "caller": "b"}', None, "the name 'caller' occurs twice"),
        (json.dumps(FIELDS)[:-1] + ', "Caller": "b"}', None, "field 'caller' occurs twice"),
        (json.dumps(FIELDS | {"price_at_alert": float("nan")}), None, "write null"),
        (json.dumps(FIELDS).replace("0.0035938", "1e999"), None, "beyond float64"),
        (json.dumps(FIELDS | {"note": "a\x00b"}), None, "NUL"),
        (json.dumps(FIELDS | {"note": ["\ud83d"]}), None, "surrogate"),
        (json.dumps(FIELDS | {"caller": None}), "caller", "caller is empty"),
        (json.dumps(FIELDS | {"caller": ["Brook"]}), "caller", "caller is a list"),
        (json.dumps(FIELDS | {"chain": True}), "chain", "chain is a truth value"),
        (json.dumps(FIELDS | {"timestamp": True}), "timestamp", "a truth value"),
        (
            json.dumps(FIELDS | {"timestamp": 1752850251000000000000}),
            "timestamp",
            "outside 2009 to 2099 in seconds, ms, us and ns",
        ),
        (json.dumps(FIELDS | {"price_at_alert": False}), "price_at_alert", "a truth value"),
        (json.dumps(FIELDS | {"side": "short"}), "side", "allowed are buy, sell"),
        (json.dumps(FIELDS | {"signal_type": "hold"}), "signal_type", "entry, exit, scale_in, scale_out"),
        (json.dumps(FIELDS | {"confidence": 75}), "confidence", "allowed are 0 to 1"),
        (json.dumps(FIELDS | {"confidence": -0.1}), "confidence", "allowed are 0 to 1"),
        ("{}", "token_address", "no token is named"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_bad_json_line_is_quarantined_with_field_and_reason(
    tmp_path: Path, line: str, field: str | None, reason: str
) -> None:
    file = read_lines(tmp_path, "", line)
    assert reason in only_reason(file, field)
    assert file.quarantined[0].line == 2
    assert file.quarantined[0].raw_text == line[:2000]


def test_a_bad_row_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    file = read_csv(tmp_path, ROW, ROW.replace("Brook", '"Brook'), ROW.replace("Brook", "LSY"))
    assert [alert.caller for alert in file.alerts] == ["Brook", "LSY"]
    assert [row.line for row in file.quarantined] == [3]


def test_naive_times_are_read_in_the_stated_zone(tmp_path: Path) -> None:
    # Sydney is at UTC+10 in July.
    file = read_csv(tmp_path, ROW.replace("14:50:51.000Z", "14:50:51"), timezone="Australia/Sydney")
    assert file.alerts[0].alert_timestamp == datetime(2025, 7, 18, 4, 50, 51, tzinfo=UTC)


def test_columns_are_found_by_name_and_further_ones_stay_in_raw(tmp_path: Path) -> None:
    header = "note," + ",".join(reversed(HEADER.upper().split(","))) + ",note"
    row = "hello," + ",".join(reversed(ROW.split(","))) + ",again"
    (alert,) = read_csv(tmp_path, row, header=header).alerts
    assert alert.caller == "Brook"
    assert (alert.raw["note"], alert.raw["note#2"]) == ("hello", "again")


def test_header_of_no_alerts_is_refused_with_what_was_found(tmp_path: Path) -> None:
    candles = "token_address,chain,timestamp,open,high,low,close,volume"
    with pytest.raises(DataError, match=r"alerts\.csv: line 1: these are the columns of candles.*'caller'.*'open'"):
        read_csv(tmp_path, header=candles)
    for header in (HEADER.replace(",", ";"), "a,b,c"):
        with pytest.raises(DataError, match=r"no column is known.*separated by commas"):
            read_csv(tmp_path, header=header)
    with pytest.raises(DataError, match="column 'caller' occurs twice"):
        read_csv(tmp_path, header=HEADER + ",Caller")


def test_gzip_and_every_suffix_are_read(tmp_path: Path) -> None:
    line = json.dumps(FIELDS).encode() + b"\n"
    contents = {"a.jsonl": line, "a.ndjson": line, "a.ndjson.gz": gzip.compress(line), "A.JSONL": line}
    contents["a.csv.gz"] = gzip.compress(f"{HEADER}\n{ROW}\n".encode())
    keys = set()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        keys |= {alert.content_key for alert in read_alert_file(tmp_path / name).alerts}
    assert len(keys) == 1


def test_file_without_rows_is_fine_and_without_bytes_is_not(tmp_path: Path) -> None:
    assert read_csv(tmp_path).rows_read == 0
    assert read_lines(tmp_path, "", " ").rows_read == 0
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(DataError, match="zero bytes"):
            read_alert_file(tmp_path / name)


@pytest.mark.parametrize("source", ["", " ", " telegram", "x" * 201, "a\x00b"])
def test_unusable_source_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError, match="source"):
        read_lines(tmp_path, FIELDS, source=source)


def test_content_key_is_stable_across_versions(tmp_path: Path) -> None:
    """A changed key would store every alert a second time at the next import."""
    (alert,) = read_csv(tmp_path, ROW).alerts
    (message,) = read_lines(tmp_path, FIELDS | {"message_id": 1}).alerts
    said = (
        f'["content", "file", "Brook", "solana", "{MINT}", "buy", "entry", '
        '"2025-07-18T14:50:51.000000+00:00", "0.0035938", "3600000.0"]'
    )
    assert alert.content_key == sha256(said.encode()).hexdigest()
    told = f'["message", "file", "1", "solana", "{MINT}"]'
    assert message.content_key == sha256(told.encode()).hexdigest()
