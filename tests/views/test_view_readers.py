"""What the project's own queries read of the views: every column is there, and one that is gone is named."""

import re
from pathlib import Path

import pytest
import sqlglot
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.sql_files import Database, load_sql
from quantbot_pipeline.storage.views import load_views
from quantbot_pipeline.storage.views.readers import naming_missing_columns, views_in, views_read_by
from quantbot_pipeline.storage.views.rendering import DATABASES, load_readable_views

_PARAMETER = r"%\(\w+\)s|\{\w+:[\w()]+\}"

TABLES = frozenset({"runs"})

QUERIES = [
    (database, path)
    for database in DATABASES
    for topic in ("report", "lists", "trades")
    for path in sorted(project_file(f"sql/{database}/queries").glob(f"{topic}/*.sql"))
    # Counts of rows are of tables too, whose columns no header has.
    if path.stem != "count_rows" and views_in(path.read_text(encoding="utf-8"))
]


def write(folder: Path, name: str, body: str) -> None:
    header = "/*\ndescription: What?\ngrain: one row\ncolumns:\n  one: {meaning: The number}\n*/\n"
    (folder / f"{name}.sql").write_text(header + body + "\n", encoding="utf-8")


def check_columns(database: Database, sql: str) -> None:
    """Let sqlglot find every column of a query in the headers of the views that it reads."""
    views = {view.name: dict.fromkeys(view.output_names, "text") for view in load_views(database)}
    without_parameters = re.sub(_PARAMETER, "null", sql)
    qualify(sqlglot.parse_one(without_parameters, dialect=database), schema=views, dialect=database)


@pytest.mark.parametrize(("database", "path"), QUERIES, ids=[f"{d}-{p.parent.name}-{p.stem}" for d, p in QUERIES])
def test_every_column_that_the_report_and_the_lists_read_is_in_a_header(database: Database, path: Path) -> None:
    check_columns(database, path.read_text(encoding="utf-8"))


def test_a_column_that_no_header_has_is_found() -> None:
    text = load_sql("clickhouse", "lists/list_trades")

    with pytest.raises(OptimizeError, match="exit_resaon"):
        check_columns("clickhouse", text.replace("exit_reason", "exit_resaon"))


@pytest.mark.parametrize(
    "answer",
    [
        "clickhouse query 'lists/list_trades': Code: 47. DB::Exception: Unknown expression identifier `gone` in scope",
        "clickhouse query 'lists/list_trades': Code: 47. DB::Exception: Identifier 'trades.gone' cannot be resolved",
        "postgres query 'report/list_health': column \"gone\" does not exist LINE 3: gone",
        "postgres query 'report/list_health': column health.gone does not exist",
    ],
)
def test_a_column_that_a_view_lost_is_named_with_the_file_of_the_view(answer: str) -> None:
    mart = "mart_trades" if "clickhouse" in answer else "mart_pipeline_health"
    query = "list_trades" if "clickhouse" in answer else "list_health"

    with (
        pytest.raises(
            MigrationError, match=rf"the view {mart} \(.*/{mart}\.sql\) has no column 'gone', which .*{query}"
        ),
        naming_missing_columns(),
    ):
        raise MigrationError(answer)


def test_other_refusals_stay_as_they_are() -> None:
    text = "clickhouse query 'lists/list_trades': Unknown expression identifier `pnl` in scope"

    # The view has this one: somebody else's table lacks it.
    with pytest.raises(MigrationError, match=r"^clickhouse query"), naming_missing_columns():
        raise MigrationError(text)


def test_the_report_needs_the_views_that_its_queries_read() -> None:
    needed = views_read_by("report")

    assert ("clickhouse", "mart_trades") in needed
    assert ("postgres", "mart_pipeline_health") in needed
    assert ("postgres", "mart_optimization_frontier") not in needed
    assert {name for _, name in needed} <= {view.name for database in DATABASES for view in load_views(database)}


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
