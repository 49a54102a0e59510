"""Files that mean harm, or are broken beyond use: refused in bounded memory and time, row by row where possible."""

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import AlertFile, read_alert_file
from quantbot_pipeline.ingest.alerts import text_source
from quantbot_pipeline.ingest.alerts.messages import command_of, read_figures, read_message
from quantbot_pipeline.ingest.alerts.text_source import MAX_RECORD_CHARACTERS

BONK = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
MEBIBYTE = 1024**2
GOOD_JSON = json.dumps({"caller": "a", "mint": BONK, "timestamp": 1752850251}).encode()
GOOD_CSV = f"a,{BONK},1752850251".encode()
GOOD_MESSAGE = json.dumps({"id": 1, "from": "a", "date_unixtime": "1752850251", "text": BONK}).encode()
GOOD_HTML = (
    '<div class="message" id="message1"><div class="date" title="18.07.2025 14:50:51 UTC+00:00"></div>'
    f'<div class="from_name">a</div><div class="text">{BONK}</div></div>'
).encode()


def checked(file: AlertFile) -> AlertFile:
    assert file.rows_read == len(file.alerts) + file.duplicates + len(file.quarantined)
    return file


def long_line(kind: str, megabytes: int) -> Iterator[bytes]:
    """Yield a file of one good row, one row of that many megabytes, and one good row."""
    filler = b"x" * MEBIBYTE
    starts = {
        "csv": b"caller,mint,timestamp\n" + GOOD_CSV + b"\na,",
        "jsonl": GOOD_JSON + b'\n{"caller": "',
        "json": b'{"id": 1, "messages": [' + GOOD_MESSAGE + b', {"text": "',
        "html": GOOD_HTML + b'<div class="message" id="message2"><div class="text">',
    }
    ends = {
        "csv": b",1\nb" + GOOD_CSV[1:],
        "jsonl": b'"}\n' + GOOD_JSON.replace(b'"a"', b'"b"'),
        "json": b'"}, ' + GOOD_MESSAGE.replace(b'"id": 1', b'"id": 3') + b"]}",
        "html": b"</div></div>" + GOOD_HTML.replace(b"message1", b"message3"),
    }
    yield starts[kind]
    for _ in range(megabytes):
        yield filler
    yield ends[kind]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "html"])
def test_a_row_of_any_length_is_refused_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"alerts.{kind}"
    with path.open("wb") as file:
        file.writelines(long_line(kind, 40))
    tracemalloc.start()
    read = checked(read_alert_file(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(read.alerts) == 2
    (row,) = read.quarantined
    assert f"at most {MAX_RECORD_CHARACTERS} are allowed" in row.reason
    assert len(row.raw_text) <= 2000
    # 40 MiB are read; no more than about ten of the longest allowed rows are held.
    assert peak < 12 * MEBIBYTE


@pytest.mark.parametrize("field", ["caller", "symbol", "mint", "message", "timestamp", "message_id", "chain", "price"])
def test_a_field_of_almost_any_length_is_refused_by_its_name_or_kept_as_text(tmp_path: Path, field: str) -> None:
    path = tmp_path / "alerts.jsonl"
    row = {"caller": "a", "mint": BONK, "timestamp": 1752850251, field: "x1 " * 300_000}
    path.write_text(json.dumps(row))
    read = checked(read_alert_file(path))
    assert len(read.quarantined) == (field != "message")
    assert all(len(row.reason) < 500 for row in read.quarantined)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "a.json.gz", "a.html.gz"])
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b'{"messages": [{"' + (b"x" * 4095 + b"\n") * (16 * 1024), 9))
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_alert_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # It would be 64 MiB; 16 MiB are read before the ratio counts, and a table's lines are held.
    assert peak < 40 * MEBIBYTE


def test_a_file_beyond_the_size_that_is_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_source, "MAX_TABLE_BYTES", MEBIBYTE)
    path = tmp_path / "a.csv"
    path.write_bytes(b"caller,mint,timestamp\n" + (GOOD_CSV + b"\n") * 40_000)
    with pytest.raises(DataError, match="more than 1 MiB, which is the most"):
        read_alert_file(path)


def test_the_fingerprint_is_of_the_whole_file(tmp_path: Path) -> None:
    from hashlib import sha256

    for name, content in (("a.json", b'{"messages": []}' + b" " * 500_000), ("a.jsonl.gz", gzip.compress(GOOD_JSON))):
        (tmp_path / name).write_bytes(content)
        assert read_alert_file(tmp_path / name).sha256 == sha256(content).hexdigest()


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="no regular file"):
        read_alert_file(tmp_path / "pipe.csv")


@pytest.mark.parametrize("depth", [60, 900, 200_000])
def test_json_that_is_nested_deeply_is_refused_row_by_row(tmp_path: Path, depth: int) -> None:
    deep = b'{"caller": ' + b"[" * depth + b"]" * depth + b"}"
    for name, content in (
        ("a.jsonl", GOOD_JSON + b"\n" + deep + b"\n"),
        ("a.json", b'{"messages": [' + GOOD_MESSAGE + b", " + deep.replace(b"caller", b"text") + b"]}"),
    ):
        (tmp_path / name).write_bytes(content)
        read = checked(read_alert_file(tmp_path / name))
        assert len(read.alerts) == 1
        assert "nested too deeply" in read.quarantined[0].reason


def test_numbers_beyond_every_bound_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        b'{"caller": "a", "mint": "m", "timestamp": ' + number + b"}"
        for number in (b"9" * 10_000, b"1e999", b"-1e-999", b"1e-320")
    ]
    path.write_bytes(b"\n".join(rows))
    assert len(checked(read_alert_file(path)).quarantined) == 4


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "aB1", "0x", "0", "f", "1", "z", " ", "\n", "/", "https://", "dexscreener.com/", "x.", "[", "$", "on "),
        *("FDV", "FDV: ", "0.0{", "1,", "9", f"{BONK}x", "\u200b", "\x1f", "aB1\n", "chain:", "via @a ", "?a=", "%"),
        *("0x" + "a" * 41 + " ", "A1b2C3d4E5f6G7h8J9k1M2n3P4q5R6s7T8u9V1w2X3y4Z5 ", "pump", "MC:1", "https://a/", "é"),
    ],
    ids=lambda piece: repr(piece)[:16],
)
def test_time_goes_by_the_length_of_a_message(piece: str) -> None:
    """No expression backtracks: four times the text takes about four times as long, whatever it repeats."""

    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        started = time.perf_counter()
        read_message(text)
        read_figures(text)
        command_of(text)
        return time.perf_counter() - started

    small = min(seconds(20_000) for _ in range(3))
    large = min(seconds(80_000) for _ in range(2))
    # By the square it would be sixteen times, and seconds; what takes next to no time has no ratio.
    assert large < 0.5 or large < 9 * small
