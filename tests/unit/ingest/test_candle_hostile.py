"""Files made to hurt: refused in bounded memory and time, or row by row."""

import gzip
import json
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.candles import text_blocks

T0 = 1735689600
HEADER = b"timestamp,open,high,low,close,volume,token_address,chain,interval\n"
SAID: dict[str, Any] = {"chain": "binance", "token": "BTC_USDT", "interval": "5m"}
MEGABYTE = 2**20


def row(timestamp: int = T0, token: bytes = b"BTC_USDT") -> bytes:
    return b"%d,1,2,0.5,1.5,10,%s,binance,5m\n" % (timestamp, token)


def read(tmp_path: Path, name: str, content: bytes, **said: Any) -> CandleFile:
    path = tmp_path / name
    path.write_bytes(content)
    return read_candle_file(path, **said)


def test_line_of_many_megabytes_is_refused_and_those_around_it_are_read(tmp_path: Path) -> None:
    content = HEADER + row() + b"x" * (20 * MEGABYTE) + b"\n" + row(T0 + 300)
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    del content
    file = read_candle_file(path)
    assert (file.rows_read, file.candles.num_rows) == (3, 2)
    assert [(bad.line, bad.reason) for bad in file.quarantined] == [
        (3, "the line has 20971520 bytes; at most 1048576 are allowed")
    ]
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 300]


def test_memory_does_not_grow_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as stream:
        stream.write(b"[1735689600,1,2,0.5,1.5,1]\n")
        for _ in range(100):
            stream.write(b"y" * MEGABYTE)
    tracemalloc.start()
    try:
        file = read_candle_file(path, **SAID)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (file.candles.num_rows, len(file.quarantined)) == (1, 1)
    # A few pieces of 1 MB, whatever the line's 100.
    assert peak < 20 * MEGABYTE


def test_symbol_of_ten_megabytes_is_one_bad_row(tmp_path: Path) -> None:
    file = read(tmp_path, "a.csv", HEADER + row() + row(T0 + 300, b"B" * (10 * MEGABYTE)))
    assert (file.candles.num_rows, len(file.quarantined)) == (1, 1)
    assert len(file.quarantined[0].raw_text) <= 2000


def test_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "RATIO_FREE_BYTES", MEGABYTE)
    content = gzip.compress(HEADER + b"0" * (16 * MEGABYTE))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read(tmp_path, "a.csv.gz", content)
    # What unpacks to little is read, however well it is packed.
    idle = HEADER + row() * 5000
    assert len(idle) < MEGABYTE
    assert read(tmp_path, "b.csv.gz", gzip.compress(idle)).duplicates == 4999


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_deep_json_is_no_crash(tmp_path: Path, name: str) -> None:
    good = b"[1735689600,1,2,0.5,1.5,1]"
    deep = b"[" * 200 + b"]" * 200
    content = b"[" + good + b"," + deep + b"]" if name == "a.json" else good + b"\n" + deep
    file = read(tmp_path, name, content, **SAID)
    assert (file.candles.num_rows, len(file.quarantined)) == (1, 1)


def test_bottomless_json_is_refused_at_once(tmp_path: Path) -> None:
    # 28 bytes before the nesting, and the 501 brackets of it that were looked at.
    with pytest.raises(DataError, match="nested more than 500 levels deep, at byte 529 after row 1"):
        read(tmp_path, "a.json", b"[[1735689600,1,2,0.5,1.5,1]," + b"[" * 5 * MEGABYTE, **SAID)
    for content in (b'{"a":' * 100_000, b"[" * 100_000):
        with pytest.raises(DataError):
            read(tmp_path, "b.json", content, **SAID)


def _truncated_gz() -> bytes:
    return gzip.compress(HEADER + b"".join(row(T0 + 300 * step) for step in range(1000)))[:-100]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv.gz", _truncated_gz(), "the gzip stream is broken after [0-9]+ unpacked bytes.*refused whole"),
        ("a.json", b"[[1735689600,1,2,0.5,1.5,1],[17356", "refused whole: it is cut off.*at byte 34 after row 1"),
        ("a.json", b"[[1735689600,1,2,0.5,1.5,1]", "refused whole: it is cut off.*at byte 27 after row 0"),
        ("a.json", b"[[1735689600,1,2,0.5,1.5,1] [1]]", "'\\[' where a comma or the end of the list should be"),
        ("a.json", b"[[1735689600,1,2,0.5,1.5,1],]", "'\\]' where a row should be"),
        ("a.json", b"[[1735689600,1,2,0.5,1.5,1]] x", "something follows its list"),
        ("a.json", b'{"data": {"items": [', "refused whole, it is no JSON"),
        ("a.json", b'{"data": 1}', "holds no list of candles"),
        ("a.json", b"   ", "only blanks"),
        ("a.json", b"1", "no JSON list or object"),
        ("a.json", "[[1]]".encode("utf-16"), "UTF-16"),
        ("a.csv", "timestamp,open".encode("utf-16"), "UTF-16"),
        ("a.json", b"", "zero bytes"),
        ("a.feather", b"", "zero bytes"),
        ("a.feather", b"ARROW1\x00\x00" + b"\xff" * 200 + b"ARROW1", "can't be read as feather"),
        ("a.parquet.gz", b"x", "files of this kind can't be read"),
        ("a.csv", b"x" * (2 * MEGABYTE), "line 1: the line has 2097152 bytes"),
        ("a.csv", b",".join(b"c%d" % number for number in range(20_000)) + b"\n", "20000 columns"),
    ],
)
def test_what_can_not_be_trusted_is_refused_whole(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        read(tmp_path, name, content, **SAID)
    assert "\n" not in str(caught.value)


def test_empty_list_is_a_file_without_rows(tmp_path: Path) -> None:
    for name, content in (("a.json", b" [ \n] "), ("b.json", b'{"data": {"items": []}}'), ("a.jsonl", b"\n\n")):
        file = read(tmp_path, name, content)
        assert (file.rows_read, file.candles.num_rows) == (0, 0)


def test_nul_and_bytes_that_are_no_text_cost_their_row_alone(tmp_path: Path) -> None:
    bad = row(T0 + 300).replace(b"1.5", b"1\x005") + row(T0 + 600).replace(b"1.5", b"1\xff5")
    file = read(tmp_path, "a.csv", HEADER + row() + bad + row(T0 + 900))
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 900]
    assert [bad_row.line for bad_row in file.quarantined] == [3, 4]
    lines = b'[1735689600,1,2,0.5,1.5,1]\n[1735689900,"\x00",2,0.5,1.5,1]\n[1735690200,1,2,0.5,"\xff",1]\n'
    from_lines = read(tmp_path, "a.jsonl", lines, **SAID)
    assert [bad_row.line for bad_row in from_lines.quarantined] == [2, 3]


def test_sql_and_html_in_texts_are_bad_rows_shown_as_they_are(tmp_path: Path) -> None:
    file = read(
        tmp_path, "a.csv", HEADER + row(token=b"'; drop table tokens; --") + row(T0 + 300, b"<script>x</script>")
    )
    assert [bad.field for bad in file.quarantined] == ["token_address", "token_address"]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_fifo, "no regular file"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    ],
)
def test_what_is_no_file_is_refused_and_hangs_nobody(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    for name in ("a.csv", "a.json", "a.parquet", "a.feather", "a.csv.gz"):
        make(tmp_path / name)
        with pytest.raises(DataError, match=reason):
            read_candle_file(tmp_path / name)


def test_rows_of_garbage_cost_time_by_their_number(tmp_path: Path) -> None:
    content = b"[[1735689600,1,2,0.5,1.5,1]," + b"1," * 50_000 + b"[[[[[[1]]]]]]," * 5_000 + b"1]"
    started = time.process_time()
    file = read(tmp_path, "a.json", content, **SAID)
    assert (file.rows_read, file.candles.num_rows) == (55_002, 1)
    # About 1 s; a look at the rest of the file for every row would take minutes.
    assert time.process_time() - started < 30


def test_names_that_occur_twice_in_an_object_are_refused(tmp_path: Path) -> None:
    good = json.dumps(dict(zip(["t", *"ohlcv"], [T0, 1, 2, 0.5, 1.5, 1], strict=True)))
    for again, reason in (("o", "the name 'o' occurs twice"), ("O", "column 'o' occurs twice")):
        twice = good.replace('"o": 1', f'"o": 1, "{again}": 2')
        file = read(tmp_path, "a.jsonl", f"{good}\n{twice}".encode(), **SAID)
        assert file.candles.num_rows == 1
        assert reason in file.quarantined[0].reason
