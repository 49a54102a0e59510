"""Reading view files: headers, selects, order, and errors that name file, line, what was found, what is allowed."""

from pathlib import Path

import pytest

from quantbot_pipeline.errors import ConfigError, MigrationError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import View, ViewColumn, load_views, select_views
from quantbot_pipeline.storage.views.rendering import content_hashes

TABLES = frozenset({"runs", "calls"})

HEADER = """/*
description: What?
grain: one row
columns:
  one: {meaning: The number}
*/
"""


def write(folder: Path, name: str, body: str, header: str = HEADER) -> Path:
    path = folder / f"{name}.sql"
    path.write_text(header + body + "\n", encoding="utf-8")
    return path


def load(folder: Path, database: Database = "postgres") -> list[View]:
    return load_views(database, folder, TABLES)


def one(folder: Path, body: str, header: str = HEADER, database: Database = "postgres") -> View:
    write(folder, "stg_a", body, header)
    (view,) = load(folder, database)
    return view


def test_views_come_after_what_they_read(tmp_path: Path) -> None:
    write(tmp_path, "mart_a", "select b.one from {{ ref('int_b') }} as b cross join {{ ref('stg_c') }} as c")
    write(tmp_path, "int_b", "select one from {{ ref('stg_c') }}")
    write(tmp_path, "stg_c", "select 1 as one from {{ source('runs') }}")

    views = load(tmp_path)

    assert [view.name for view in views] == ["stg_c", "int_b", "mart_a"]
    assert (views[2].refs, views[2].sources) == (("int_b", "stg_c"), ())
    assert (views[0].refs, views[0].sources) == ((), ("runs",))


def test_a_header_is_read_with_columns_units_tests_and_notes(tmp_path: Path) -> None:
    header = """/*
description: "Which: runs?"
grain: one row per run
materialized: table
indexes: [[one], [two, one]]
columns:
  one: {meaning: "First, of two", unit: USD}
  two:
    meaning: Second
tests:
  - unique: [one, two]
  - not_null: [one, two]
  - accepted_values: {column: two, values: [a, 1]}
  - relationships: {column: one, to: calls.id}
  - expression: one > 0
notes: |
  Two lines
  of notes.
*/
"""
    view = one(tmp_path, "select 1 as one, 'a' as two from {{ source('runs') }}", header)

    assert view.columns == (ViewColumn("one", "First, of two", "USD"), ViewColumn("two", "Second"))
    assert [str(test) for test in view.tests] == [
        "unique(one, two)",
        "not_null(one)",
        "not_null(two)",
        "accepted_values(two: a, 1)",
        "relationships(one in calls.id)",
        "expression(one > 0)",
    ]
    assert (view.materialized, view.file.indexes) == ("table", (("one",), ("two", "one")))
    assert view.comments == (
        "Which: runs? Grain: one row per run. Two lines of notes.",
        "First, of two [USD]",
        "Second",
    )


def test_a_view_that_is_read_without_an_alias_goes_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, "stg_a", "select 1 as one from {{ source('runs') }}")
    write(tmp_path, "int_b", "select stg_a.one from {{ ref('stg_a') }} where stg_a.one > 0")

    _, view = load(tmp_path)

    assert view.render(lambda relation: f"builds.{relation.name}__0") == (
        "select stg_a.one from builds.stg_a__0 as stg_a where stg_a.one > 0"
    )
    assert view.readable_sql == "select stg_a.one from stg_a where stg_a.one > 0"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("select 1 as one from runs", r"stg_a\.sql:7: found 'runs', read directly; allowed are \{\{ ref"),
        ("select 1 as one\nfrom {{ source('runs') }} as r\njoin calls on true", r":9: found 'calls', read directly"),
        ("select 1 as one from {{ source('runs') }} where 1 in (select id from public.calls)", "found 'public.calls'"),
        ("with runs as (select * from runs) select 1 as one from runs, {{ source('calls') }} as c", "found 'runs'"),
        ("select 1 as one", r"the select reads nothing"),
        ("select 1 as one from {{ source('rums') }}", r":7: source\('rums'\) is no table .*did you mean runs\?"),
        ("select 1 as one from {{ ref('runs') }}", r"ref\('runs'\) is a table of the migrations: use source"),
        ("select 1 as one from {{ ref('stg_b') }}", r"ref\('stg_b'\) is no view: "),
        ("select 1 as one from {{ ref('stg_a') }}", "the view reads itself"),
        ("select 1 as one from {{ source('runs', 'x') }}", r":7: found Jinja's source\(…\); allowed are"),
        ("select 1 as one from {{ config.secret }}", r"found Jinja's getattr; allowed are"),
        ("{% for i in range(9) %}x{% endfor %}", r"found Jinja's for; allowed are"),
        ("select {{ 'one' | upper }} from {{ source('runs') }}", r"found Jinja's filter"),
        ("select 1 as one\nfrom {{ source('runs') }", r":8: the select is not understood"),
        ("select 1 as one from {{ source('runs') }} where (", r"sqlglot does not understand the select"),
        ("select 1 as one from {{ source('runs') }}; drop table calls", "found select, drop after the header"),
        ("delete from {{ source('runs') }}", "found delete after the header; allowed is one select"),
        ("select\n    *\nfrom {{ source('runs') }}", r":8: output column 1 is '\*'; say each column by its name"),
        ("select 1 as one, r.* from {{ source('runs') }} as r", r":7: output column 2 is '\*'; say"),
        ("select count(*) from {{ source('runs') }}", "output column 1 has no name"),
        ("select 1 + 1 from {{ source('runs') }}", "output column 1 has no name"),
        ("select 1 as one, 2 as two from {{ source('runs') }}", "output column 'two' is not under columns"),
        ("select 1 as won from {{ source('runs') }}", "output column 'won' is not under columns"),
        ("select 1 as one, 2 as one from {{ source('runs') }}", "returns 'one' twice"),
        ("select 1 as one from pg_read_file('/etc/passwd'), {{ source('runs') }} as r", "function 'pg_read_file'"),
    ],
)
def test_a_select_that_lineage_could_not_follow_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        one(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        "select 1 as one from {{ source('runs') }} where id in calls",
        "select 1 as one from {{ source('runs') }} where id in {{ source('calls') }}",
        "select 1 as one from {{ source('runs') }} cross join url('http://somewhere', CSV)",
    ],
)
def test_ways_of_clickhouse_to_read_more_are_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(MigrationError, match=r"stg_a\.sql:7: .*allowed"):
        one(tmp_path, body, database="clickhouse")


@pytest.mark.parametrize("call", ["file('/etc/hostname')", '"FILE" (name)', "aiGenerate('x')", "length(sleep(1))"])
def test_functions_of_clickhouse_that_reach_out_are_refused(tmp_path: Path, call: str) -> None:
    body = f"select\n    {call} as one\nfrom {{{{ source('runs') }}}}"
    with pytest.raises(MigrationError, match=r"stg_a\.sql:[78]: found \w+\(\), which reads files"):
        one(tmp_path, body, database="clickhouse")
    header = HEADER.replace("*/", f"tests:\n  - expression: one = {call}\n*/")
    with pytest.raises(MigrationError, match=r"stg_a\.sql:7: found \w+\(\), which reads files"):
        one(tmp_path, "select 1 as one from {{ source('runs') }}", header, database="clickhouse")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("-- depends: runs\n", r"stg_a\.sql:1: the file begins with '-- depends: runs"),
        ("/*\n*/\n", ":1: the header is empty; it needs description, grain, columns"),
        ("/*\ngrain: x\ncolumns: {one: {meaning: x}}\n*/\n", ":2: the header has no description; add it"),
        (HEADER.replace("grain:", "grane:"), ":3: the header has the key 'grane'; allowed are description, grain"),
        (HEADER.replace("one row", "[one]"), ":3: grain is a list; allowed is text"),
        (HEADER.replace("one row", "1"), ":3: grain is '1', which YAML reads as int; allowed is text"),
        (HEADER.replace("one row", ""), ":3: grain is '', which YAML reads as null"),
        (HEADER.replace("What?", "Which: runs?"), ":2: the header is not YAML: mapping values are not allowed here"),
        (HEADER.replace("grain: one row", "description: again"), ":3: the header has 'description' twice"),
        (HEADER.replace("{meaning: The number}", "The number"), ":5: column 'one' is a single value; allowed is key"),
        (HEADER.replace("meaning", "means"), ":5: column 'one' has the key 'means'; allowed are meaning, unit"),
        (HEADER.replace("  one:", "  One:"), ":5: 'One' can't be the name of a column"),
        (HEADER.replace("  one:", "  two: {meaning: x}\n  one:"), "columns has 'two', which the select does not"),
        (HEADER.replace("columns:", "materialized: yes\ncolumns:"), ":4: materialized is 'yes', which YAML reads as"),
        (HEADER.replace("columns:", "materialized: file\ncolumns:"), ":4: materialized is 'file'; allowed are view"),
        (HEADER.replace("columns:", "order_by: [one]\ncolumns:"), ":4: order_by is of tables in ClickHouse alone"),
        (HEADER.replace("columns:", "indexes: [one]\ncolumns:"), ":4: indexes are of tables in Postgres alone"),
        (HEADER.replace("*/", "tests:\n  - uniq: [one]\n*/"), ":7: a test has the key 'uniq'; allowed are unique"),
        (HEADER.replace("*/", "tests:\n  - unique: [won]\n*/"), ":7: unique names the column 'won'.*mean one"),
        (HEADER.replace("*/", "tests:\n  - unique: one\n  - unique: one\n*/"), ":8: the test unique.* is there twice"),
        (HEADER.replace("*/", "tests:\n  - relationships: {column: one, to: runs}\n*/"), ":7: 'to' is 'runs'; allowed"),
        (HEADER.replace("*/", "tests:\n  - relationships: {column: one, to: rums.id}\n*/"), "no view or table: .*runs"),
        (HEADER.replace("*/", "tests:\n  - accepted_values: {column: one}\n*/"), ":7: accepted_values has no values"),
    ],
)
def test_a_header_that_is_not_understood_is_refused_with_its_line(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        one(tmp_path, "select 1 as one from {{ source('runs') }}", header)


def test_a_circle_is_refused_with_the_names_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, "int_a", "select one from {{ ref('int_b') }}")
    write(tmp_path, "int_b", "select one from {{ ref('int_a') }}")

    with pytest.raises(MigrationError, match=r"circle: int_[ab]\.sql -> int_[ab]\.sql -> int_[ab]\.sql"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["view_a", "stg_A", "mart-a", "mart_" + "a" * 40])
def test_a_name_outside_of_the_layers_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "select 1 as one from {{ source('runs') }}")

    with pytest.raises(MigrationError, match="can't be the name of a view"):
        load(tmp_path)


def test_a_table_in_clickhouse_needs_its_sorting_key(tmp_path: Path) -> None:
    header = HEADER.replace("columns:", "materialized: table\ncolumns:")

    with pytest.raises(MigrationError, match="needs 'order_by"):
        one(tmp_path, "select 1 as one from {{ source('runs') }}", header, "clickhouse")


def test_a_changed_file_changes_its_hash_and_those_of_what_reads_it_alone(tmp_path: Path) -> None:
    write(tmp_path, "stg_a", "select 1 as one from {{ source('runs') }}")
    write(tmp_path, "stg_b", "select 1 as one from {{ source('runs') }}")
    write(tmp_path, "int_a", "select one from {{ ref('stg_a') }}")
    write(tmp_path, "mart_a", "select one from {{ ref('int_a') }}")
    before = content_hashes(load(tmp_path))

    write(tmp_path, "stg_a", "select 2 as one from {{ source('runs') }}")
    after = content_hashes(load(tmp_path))

    assert {name for name in before if before[name] != after[name]} == {"stg_a", "int_a", "mart_a"}


def test_a_changed_meaning_changes_no_hash(tmp_path: Path) -> None:
    before = content_hashes([one(tmp_path, "select 1 as one from {{ source('runs') }}")])
    told_better = HEADER.replace("The number", "The number one")

    assert content_hashes([one(tmp_path, "select 1 as one from {{ source('runs') }}", told_better)]) == before


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ([], "stg_a stg_b int_a mart_a"),
        (["int_a"], "int_a"),
        (["+int_a"], "stg_a int_a"),
        (["int_a+"], "int_a mart_a"),
        (["+int_a+"], "stg_a int_a mart_a"),
        (["stg_*"], "stg_a stg_b"),
        (["postgres.stg_b", "mart_a"], "stg_b mart_a"),
    ],
)
def test_views_are_selected_by_name_pattern_and_lineage(tmp_path: Path, selection: list[str], expected: str) -> None:
    for name, above in [("stg_a", None), ("stg_b", None), ("int_a", "stg_a"), ("mart_a", "int_a")]:
        body = "select 1 as one from {{ source('runs') }}"
        write(tmp_path, name, body.replace("source('runs')", f"ref('{above}')") if above else body)

    chosen = select_views(load(tmp_path), selection)

    assert {view.name for view in chosen} == set(expected.split())


def test_a_selection_that_fits_nothing_is_refused_with_what_is_near(tmp_path: Path) -> None:
    view = one(tmp_path, "select 1 as one from {{ source('runs') }}")

    with pytest.raises(ConfigError, match=r"--select '\+stg_aa' fits no view: did you mean stg_a\?"):
        select_views([view], ["+stg_aa"])


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_every_view_of_the_project_has_a_unique_key(database: Database) -> None:
    views = load_views(database)

    assert {"mart_caller_leaderboard", "mart_strategy_leaderboard", "mart_runs_ranked"} <= {view.name for view in views}
    for view in views:
        assert any(test.kind == "unique" for test in view.tests), view.path


def test_a_text_cut_by_its_comma_is_told_to_be_quoted(tmp_path: Path) -> None:
    header = HEADER.replace("The number", "Hour of the day, UTC")

    with pytest.raises(MigrationError, match=r"'UTC'; allowed are meaning, unit; a text with a comma or colon needs"):
        one(tmp_path, "select 1 as one from {{ source('runs') }}", header)


def test_a_key_that_is_not_allowed_is_no_cut_text(tmp_path: Path) -> None:
    header = HEADER.replace("The number", "Hour, of: the day")

    with pytest.raises(MigrationError, match=r"allowed are meaning, unit$"):
        one(tmp_path, "select 1 as one from {{ source('runs') }}", header)
