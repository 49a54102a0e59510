"""Where an insert's rows begin, and which format a query names."""

import pytest

from quantbot_pipeline.servers.clickhouse_statements import (
    UndecidedError,
    find_output_format,
    first_keyword,
    split_inline_insert,
    split_type_list,
)


@pytest.mark.parametrize(
    ("statement", "head", "input_format", "rows"),
    [
        (b"INSERT INTO t (a, b) FORMAT Native\n\x01\x02", b"INSERT INTO t (a, b) ", "Native", b"\x01\x02"),
        (b"insert into db.t format CSV\n1,2\n", b"insert into db.t ", "CSV", b"1,2\n"),
        (b"insert into t format TSV \r\n\n1", b"insert into t ", "TSV", b"\n1"),
        (b"insert into t (a) values (1)", b"insert into t (a) ", "Values", b" (1)"),
        (b"insert into t(a)values(1)", b"insert into t(a)", "Values", b"(1)"),
        (b"insert into function null('a Int8') format CSV\n1", b"insert into function null('a Int8') ", "CSV", b"1"),
        (b"-- format A\ninsert /*values*/ t format CSV\n1", b"-- format A\ninsert /*values*/ t ", "CSV", b"1"),
    ],
)  # fmt: skip
def test_an_insert_is_split_before_its_rows(statement: bytes, head: bytes, input_format: str, rows: bytes) -> None:
    insert = split_inline_insert(statement, is_complete=True)

    assert insert is not None
    assert (insert.head, insert.input_format, statement[insert.rows_at :]) == (head, input_format, rows)


@pytest.mark.parametrize(
    ("statement", "head", "settings"),
    [
        (b"insert into t settings a = 1 format CSV\n1", b"insert into t ", b"settings a = 1 "),
        (b"insert into settings (settings) values (1)", b"insert into settings (settings) ", b""),
        (
            b"insert into t (a) settings a = 1, b = 'values' values (1)",
            b"insert into t (a) ",
            b"settings a = 1, b = 'values' ",
        ),
    ],
)
def test_the_settings_of_an_insert_are_told_apart_from_its_head(statement: bytes, head: bytes, settings: bytes) -> None:
    insert = split_inline_insert(statement, is_complete=True)

    assert insert is not None
    assert (insert.head, insert.settings) == (head, settings)


@pytest.mark.parametrize(
    "statement",
    [
        b"insert into `format csv` (`values`) format TSV\n1",
        b'insert into "it\'s values" (a) format TSV\n1',
        b"insert into values.format (a) format TSV\n1",
        b"insert into `a\\`format CSV` (a) format TSV\n1",
        b"insert into {table:Identifier} (a) format TSV\n1",
    ],
)
def test_names_that_read_like_keywords_are_names(statement: bytes) -> None:
    insert = split_inline_insert(statement, is_complete=True)

    assert insert is not None
    assert insert.input_format == "TSV"
    assert statement[insert.rows_at :] == b"1"


@pytest.mark.parametrize(
    "statement",
    [
        b"select 'insert into t format CSV'",
        b"insert into t select 1 format CSV",
        b"insert into t with 1 as x select x",
        b"insert into t from infile 'x.csv' format CSV",
        b"insert into t",
        b"insert into `t",
        b"",
    ],
)
def test_what_carries_no_rows_is_not_split(statement: bytes) -> None:
    assert split_inline_insert(statement, is_complete=True) is None


def test_an_insert_that_arrives_byte_by_byte_is_never_split_at_a_wrong_place() -> None:
    whole = b"insert into t (a) settings x = 'values' format TSV\r\n1\n"

    for length in range(len(whole)):
        try:
            insert = split_inline_insert(whole[:length], is_complete=False)
        except UndecidedError:
            continue
        # The first decision there is is right: the rows begin at the byte after the line end.
        assert insert is not None
        assert insert.input_format == "TSV"
        assert whole[insert.rows_at :] == b"1\n"
        return
    pytest.fail("never decided")


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (b"select 1 format Native", "Native"),
        (b"select 1\n FORMAT JSONEachRow ;", "JSONEachRow"),
        (b"select 1 format CSV settings max_threads = 1", "CSV"),
        (b"select 'x format CSV'", None),
        (b"select format('{}', 1)", None),
        (b"select 1 -- format CSV", None),
        (b"select format from t", None),
    ],
)
def test_the_closing_format_clause_is_found(statement: bytes, name: str | None) -> None:
    assert find_output_format(statement) == name


def test_the_first_keyword_is_found_behind_comments_and_brackets() -> None:
    assert first_keyword(b"/* a */ -- b\n ((select 1) union all (select 2))") == "SELECT"
    assert first_keyword(b"  ") == ""
    assert first_keyword(b"'unclosed") == ""


def test_a_type_list_is_split_outside_of_brackets_only() -> None:
    assert split_type_list("UInt8, Decimal(10, 2),Map(String, Array(UInt8))") == [
        "UInt8",
        "Decimal(10, 2)",
        "Map(String, Array(UInt8))",
    ]
