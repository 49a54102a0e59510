"""What the project's own queries read of the views: every column is there, and one that is gone is told."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import load_selected_views, load_views
from quantbot_pipeline.storage.views.readers import ViewReader, need_of, unmet_needs, view_readers, views_read_by
from quantbot_pipeline.storage.views.rendering import DATABASES, load_readable_views

TABLES = frozenset({"runs"})

# A view mart_things, and a table runs of which nothing is known.
COLUMNS = {"mart_things": ("id", "name")}


def write(folder: Path, name: str, body: str) -> None:
    header = "/*\ndescription: What?\ngrain: one row\ncolumns:\n  one: {meaning: The number}\n*/\n"
    (folder / f"{name}.sql").write_text(header + body + "\n", encoding="utf-8")


def columns_of(database: Database) -> dict[str, tuple[str, ...]]:
    return {view.name: view.output_names for view in load_views(database)}


@pytest.mark.parametrize("database", DATABASES)
def test_every_column_that_readers_need_is_in_a_header(database: Database) -> None:
    views = load_views(database)

    assert unmet_needs(database, views, [view.name for view in views]) == {}


@pytest.mark.parametrize("reader", view_readers(), ids=lambda reader: "-".join(Path(reader.place).parts[-2:]))
def test_what_a_reader_needs_is_found_in_its_sql(reader: ViewReader) -> None:
    """Of a view without a column, it needs some; only counting the rows needs none."""
    columns: dict[str, Collection[str]] = {**columns_of(reader.database)}
    for view in reader.views:
        missing = reader.missing_columns(columns | {view: ()}).get(view, [])

        assert missing or "(select count(*) from int_run_results)" in reader.sql, view
        assert {*missing} <= {*columns[view]}


def test_readers_are_queries_of_both_databases_and_the_dashboard() -> None:
    places = {(reader.database, reader.topic) for reader in view_readers()}

    assert places >= {(database, topic) for database in DATABASES for topic in ("report", "lists", "grafana")}


@pytest.mark.parametrize(
    ("sql", "missing"),
    [
        ("select id from mart_things", []),
        ("select gone from mart_things", ["gone"]),
        ("select t.gone, t.id from mart_things as t where lost > 0 order by far", ["gone", "lost", "far"]),
        # Of a table, which may have any column.
        ("select gone from mart_things cross join runs", []),
        ("select runs.gone, t.lost from mart_things as t cross join runs", ["lost"]),
        (
            "select (select count(*) from runs where is_there) as runs, (select max(gone) from mart_things) as m",
            ["gone"],
        ),
        # Through other parts of the query.
        ("with a as (select *, 1 as one from mart_things) select id, one, gone from a", ["gone"]),
        ("with a as (select id as other from mart_things) select other from a", []),
        (
            "select id from (select id from mart_things union all select gone from mart_things) as both",
            ["gone"],
        ),
        # A name that the query gives is none of the view's, but in its own expression it is.
        ("select id + 1 as next from mart_things order by next", []),
        ("select max(id) as gone from mart_things having gone > 0", []),
        ("select coalesce(gone, 0) as gone from mart_things", ["gone"]),
    ],
)
@pytest.mark.parametrize("database", DATABASES)
def test_columns_are_looked_for_where_a_query_reads_them(database: Database, sql: str, missing: list[str]) -> None:
    found = ViewReader(database, "lists", "query.sql", sql).missing_columns(COLUMNS)

    assert {view: sorted(names) for view, names in found.items()} == (
        {"mart_things": sorted(missing)} if missing else {}
    )


def test_what_reads_a_view_is_named() -> None:
    places = need_of("postgres", "mart_failure_reasons")

    assert places is not None
    assert re.search(r"/report/list_failures\.sql (and \d+ others? read|reads)$", places)
    assert need_of("postgres", "mart_walk_forward") is None


def test_the_report_needs_the_views_that_its_queries_read() -> None:
    needed = views_read_by("report")

    assert ("clickhouse", "mart_trades") in needed
    assert ("postgres", "mart_pipeline_health") in needed
    assert ("postgres", "mart_optimization_frontier") not in needed
    assert {name for _, name in needed} <= {view.name for database in DATABASES for view in load_views(database)}


def test_a_circle_stops_only_what_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    write(folder, "stg_good", "select 1 as one from {{ source('runs') }}")
    write(folder, "int_round", "select one from {{ ref('mart_round') }}")
    write(folder, "mart_round", "select one from {{ ref('int_round') }}")

    selected = load_selected_views(["postgres"], ["stg_good+"], tmp_path, TABLES)

    assert [view.name for view in selected.chosen] == ["stg_good"]
    assert selected.refused.keys() == {("postgres", "int_round"), ("postgres", "mart_round")}
    for selection in ([], ["mart_*"], ["stg_good", "postgres.int_round"]):
        with pytest.raises(MigrationError, match="in a circle"):
            load_selected_views(["postgres"], selection, tmp_path, TABLES)


def test_files_that_are_not_understood_leave_the_others_readable(tmp_path: Path) -> None:
    write(tmp_path, "stg_good", "select 1 as one from {{ source('runs') }}")
    write(tmp_path, "mart_good", "select one from {{ ref('stg_good') }}")
    write(tmp_path, "stg_bad", "select (1 as one from {{ source('runs') }}")
    write(tmp_path, "int_bad", "select one from {{ ref('stg_bad') }}")
    write(tmp_path, "mart_bad", "select one from {{ ref('int_bad') }}")
    write(tmp_path, "int_lost", "select one from {{ ref('stg_lost') }}")
    write(tmp_path, "int_round", "select one from {{ ref('mart_round') }}")
    write(tmp_path, "mart_round", "select one from {{ ref('int_round') }}")

    views, refused = load_readable_views("postgres", tmp_path, TABLES)

    assert [view.name for view in views] == ["stg_good", "mart_good"]
    assert refused.keys() == {"stg_bad", "int_bad", "mart_bad", "int_lost", "int_round", "mart_round"}
    assert refused["stg_bad"] == refused["int_bad"] == refused["mart_bad"]
    assert "stg_bad.sql:7: " in refused["mart_bad"]
    assert "in a circle" in refused["int_round"]
