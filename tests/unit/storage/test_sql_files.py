"""Finding and splitting SQL files."""

import pytest

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.sql_files import load_sql, split_statements


def test_statements_end_at_semicolons() -> None:
    assert split_statements("select 1;\nselect 2;") == ["select 1", "select 2"]


def test_the_last_statement_needs_no_semicolon() -> None:
    assert split_statements("select 1;\n select 2\n") == ["select 1", "select 2"]


@pytest.mark.parametrize(
    "statement",
    [
        "select ';'",
        "select 'it''s; fine'",
        r"select 'a\'; b'",
        "select `a;b`",
        'select ";"',
        "select 1 -- not; here\n + 2",
        "select 1 /* nor; here */ + 2",
        "select 4 / 2 - 1",
        "select '--', '/*'",
    ],
)
def test_semicolons_in_quotes_and_comments_end_nothing(statement: str) -> None:
    assert split_statements(f"{statement};\nselect 2;") == [statement, "select 2"]


@pytest.mark.parametrize("nothing", ["", ";;", "-- only; a comment", "/* a; b */ ;\n-- c", " \n;\n"])
def test_comments_and_blanks_are_no_statements(nothing: str) -> None:
    assert split_statements(nothing) == []


def test_a_comment_stays_with_its_statement() -> None:
    assert split_statements("-- why; so\nselect 1;") == ["-- why; so\nselect 1"]


@pytest.mark.parametrize("name", ["count_state", "/etc/passwd", "../a/b", "a/../b", "A/b", "a/b.sql", "a//b"])
def test_names_that_are_no_query_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="not of the form topic/verb_noun"):
        load_sql("postgres", name)


def test_every_query_file_can_be_loaded_and_says_what_it_is() -> None:
    for database in ("postgres", "clickhouse"):
        folder = project_file(f"sql/{database}/queries")
        for path in folder.rglob("*.sql"):
            text = load_sql(database, str(path.relative_to(folder).with_suffix("")))
            assert text
            # No query of a file stands for several statements: drivers with parameters take one.
            assert len(split_statements(text)) == 1, path
            if not text.startswith(("copy ", "insert into schema_migrations")):
                assert text.startswith("-- "), path
