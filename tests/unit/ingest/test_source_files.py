"""Opening files, and CSV records that know where they start."""

import gzip
from hashlib import sha256
from pathlib import Path

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import is_storable, storable_text
from quantbot_pipeline.ingest.source_files import (
    MAX_RECORD_LINES,
    CsvRecord,
    csv_records,
    read_header,
    read_source_file,
    text_lines,
)


def records_of(text: str) -> list[CsvRecord]:
    return list(csv_records(text.splitlines(keepends=True)))


def test_record_with_a_quoted_line_end_is_placed_where_it_starts() -> None:
    records = records_of('a,b\n"x\ny",1\nz,2\n')
    assert [(record.line, record.fields) for record in records] == [
        (1, ["a", "b"]),
        (2, ["x\ny", "1"]),
        (4, ["z", "2"]),
    ]
    assert records[1].raw_text(["a,b\n", '"x\n', 'y",1\n', "z,2\n"]) == '"x\ny",1'


def test_unclosed_quotation_costs_one_line_and_not_the_rest_of_the_file() -> None:
    records = records_of('a,b\n1,2\n"broken,3\n4,5\n6,7\n')
    assert [(record.line, record.fields) for record in records if record.problem is None] == [
        (1, ["a", "b"]),
        (2, ["1", "2"]),
        (4, ["4", "5"]),
        (5, ["6", "7"]),
    ]
    assert [record.line for record in records if record.problem is not None] == [3]


def test_quotation_that_closes_rows_later_costs_one_line() -> None:
    # The quotation of line 2 closes at the one of line 4; the record would have swallowed line 3.
    records = records_of('a,b\n"broken,3\n4,5\n"6",7\n')
    assert [(record.line, record.problem is None) for record in records] == [
        (1, True),
        (2, False),
        (3, True),
        (4, True),
    ]


def test_quotation_is_given_up_after_a_bounded_number_of_lines() -> None:
    text = 'a,b\n"broken,3\n' + "4,5\n" * (3 * MAX_RECORD_LINES)
    records = records_of(text)
    assert len(records) == 2 + 3 * MAX_RECORD_LINES
    assert [record.line for record in records if record.problem is not None] == [2]


def test_record_of_more_lines_than_that_is_refused_even_if_it_closes() -> None:
    """Without a bound, a file full of open quotations would take time by the square of its lines."""
    long = 'a,b\n"' + "x\n" * MAX_RECORD_LINES + '",1\n'
    short = 'a,b\n"' + "x\n" * (MAX_RECORD_LINES - 1) + '",1\n'
    assert records_of(short)[1].problem is None
    assert records_of(long)[1].problem is not None


def test_wrong_number_of_fields_is_named() -> None:
    _header, short, long = records_of("a,b\n1\n1,2,3\n")
    assert short.problem == "the record has 1 fields, the header has 2"
    assert long.problem == "the record has 3 fields, the header has 2"


def test_blank_lines_are_no_records_but_count_as_lines() -> None:
    assert [record.line for record in records_of("\na,b\n\n1,2\n  \n3,4")] == [2, 4, 6]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n \n", "no header"),
        (b'"a,b\n1,2\n', "line 1: .*it must name the columns"),
        (b"a,\xffb\n1,2\n", r"line 1: 'a,\\\\xffb' holds bytes that are not UTF-8"),
        (b"\na,b\x00\n1,2\n", "line 2: .*NUL"),
    ],
    ids=["blank", "unclosed", "undecodable", "nul"],
)
def test_header_that_names_no_columns_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    source = read_source_file(path, allowed=(".csv",))
    lines = text_lines(source)
    with pytest.raises(DataError, match=reason) as caught:
        read_header(source, lines, csv_records(lines))
    assert str(caught.value).encode()


def test_every_kind_of_line_end_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("\ufeffa,b\r\n1,2\r3,4\n".encode())
    lines = text_lines(read_source_file(path, allowed=(".csv",)))
    assert lines == ["a,b\r\n", "1,2\r", "3,4\n"]


def test_fingerprint_is_of_the_bytes_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n", mtime=0))
    source = read_source_file(path, allowed=(".csv",))
    assert source.content == b"a,b\n1,2\n"
    assert source.sha256 == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.csv", b"", "zero bytes"),
        ("empty.csv.gz", gzip.compress(b"", mtime=0), "zero bytes"),
        ("broken.csv.gz", b"\x1f\x8b\x08not gzip", "gzip stream is broken"),
        ("cut.csv.gz", gzip.compress(b"a,b\n" * 1000, mtime=0)[:-20], "gzip stream is broken"),
        ("plain.csv.gz", b"a,b\n", "gzip stream is broken"),
        ("rows.xlsx", b"PK", "can't be read; allowed are .csv"),
        ("rows", b"a,b", "can't be read; allowed are .csv"),
    ],
)
def test_file_that_cannot_be_opened_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_source_file(path, allowed=(".csv",))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_source_file(tmp_path / "absent.csv", allowed=(".csv",))
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(DataError, match="Is a directory"):
        read_source_file(folder, allowed=(".csv",))


def test_utf16_text_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("a,b\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16; save the file as UTF-8"):
        text_lines(read_source_file(path, allowed=(".csv",)))


def test_raw_text_in_quarantine_fits_any_utf8_column() -> None:
    undecodable = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert storable_text(undecodable) == "caf\\xe9"
    assert storable_text("half \ud83d pair, nul \x00") == "half \\ud83d pair, nul \\x00"
    assert storable_text("馬🐳") == "馬🐳"
    assert len(storable_text("\x00" * 5000)) == 2000
    assert not is_storable("\x00")
    assert not is_storable("\ud83d")
    assert is_storable("馬🐳")
