"""`quantbot views`: build, test and describe the views of both databases."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quantbot_pipeline.cli.console import print_error, print_json, print_line, print_rows, print_warning, waiting

if TYPE_CHECKING:
    from quantbot_pipeline.storage.sql_files import Database
    from quantbot_pipeline.storage.views import ViewTestResult

Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        "-s",
        help="A view, or a pattern such as 'stg_*'; + before it adds what it reads, + after it what reads it. "
        "May be given more than once.",
    ),
]
InDatabase = Annotated[
    Literal["postgres", "clickhouse"] | None, typer.Option("--database", help="Only in this one; both by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Views of both databases, from the files in dbt_like_views/.", no_args_is_help=True)
    app.add_typer(group, name="views")
    group.command("build")(build)
    group.command("test")(check)
    group.command("docs")(docs)


def build(*, select: Select = None, database: InDatabase = None, as_json: AsJson = False) -> None:
    """Build the views whose files or inputs changed, test them, and only then show them.

    A view that fails goes on showing what it showed, and so does what reads it.

    A view without a column that the report, a list or the dashboard reads fails too.

    Exit code 0 when all chosen views are what their files say, else 3.

    Examples: quantbot views build, quantbot views build --select +mart_caller_leaderboard --database clickhouse
    """
    from quantbot_pipeline.cli.stores import open_stores
    from quantbot_pipeline.storage.views import build_views

    with open_stores() as stores, waiting("building the views") as tell:
        built = build_views(
            stores.urls.postgres,
            stores.urls.clickhouse,
            databases=_databases(database),
            selection=select or (),
            on_progress=tell,
        )
    rows = [
        {
            "database": view.database,
            "view": view.view,
            "outcome": view.outcome,
            "tests": len(view.tests),
            "rows": view.row_count,
        }
        for view in built.views
    ]
    if as_json:
        reasons = [view.reason for view in built.views]
        print_json([row | {"reason": reason} for row, reason in zip(rows, reasons, strict=True)])
    else:
        changed = [row for row in rows if row["outcome"] != "unchanged"]
        if changed:
            print_rows("Views", changed)
        print_line(f"{len(rows) - len(changed)} of {len(rows)} views are unchanged")
        for failure in built.failures:
            print_error(f"{failure.database}.{failure.view} {failure.outcome}: {failure.reason}")
    raise typer.Exit(3 if built.failures else 0)


def check(*, select: Select = None, database: InDatabase = None, as_json: AsJson = False) -> None:
    """Run the tests in the views' headers on the rows that are stored now; exit 1 if one fails.

    Prints how many passed per view; what failed comes last, with file, line and the first keys, then the counts.

    Also compares both databases where views of one name answer in both (`agrees` in the header), and prints the first
    keys that differ. What is behind, such as a table older than its rows, is said and is no failure.

    Examples: quantbot views test, quantbot views test --select 'mart_*' --json
    """
    from quantbot_pipeline.cli.stores import open_stores
    from quantbot_pipeline.storage.views import check_views

    refused: list[tuple[str, str, str]] = []
    with open_stores() as stores, waiting("testing the views") as tell:
        results = check_views(
            stores.urls.postgres,
            stores.urls.clickhouse,
            databases=_databases(database),
            selection=select or (),
            on_progress=tell,
            on_refused=lambda *about: refused.append(about),
        )
    _warn_of_refused(refused)
    rows = [
        {
            "database": result.database,
            "view": result.view,
            "test": result.test,
            "place": result.place,
            "result": f"not compared: {result.not_compared}"
            if result.not_compared
            else "passed"
            if result.passed
            else f"{result.failures} rows fail",
        }
        for result in results
    ]
    if as_json:
        examples = [list(result.examples) for result in results]
        print_json([row | {"examples": of_row} for row, of_row in zip(rows, examples, strict=True)])
    else:
        _print_results(results)
    raise typer.Exit(0 if all(result.passed for result in results) else 1)


def _warn_of_refused(refused: "Sequence[tuple[str, str, str]]") -> None:
    """Warn of views that are not understood, where they are not needed for what was asked."""
    for database, view, reason in refused:
        print_warning(f"view {database}.{view} is not understood (not needed here): {reason}")


def _print_results(results: "Sequence[ViewTestResult]") -> None:
    """Print how many tests of each view passed, then what was not compared and what failed, then the counts."""
    not_compared = [result for result in results if result.not_compared]
    failed = [result for result in results if not result.passed]
    left = {(result.database, result.view, result.test) for result in (*not_compared, *failed)}
    views = dict.fromkeys((result.database, result.view) for result in results)
    passed = Counter((one.database, one.view) for one in results if (one.database, one.view, one.test) not in left)
    print_rows(
        "View tests",
        [{"database": database, "view": view, "passed": passed[database, view]} for database, view in views],
    )
    for result in not_compared:
        print_warning(f"{result.database}.{result.view}: not compared: {result.not_compared}")
    for result in failed:
        rows = "1 row fails" if result.failures == 1 else f"{result.failures:,} rows fail"
        print_error(f"{result.place}: {result.database}.{result.view}: {rows} {result.test}")
        for example in result.examples:
            print_error(f"  {example}")
    print_line(f"{passed.total():,} passed, {len(failed):,} failed, {len(not_compared):,} not compared")


def docs(
    *,
    select: Select = None,
    database: InDatabase = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write to; reports/views in the home by default.", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page that describes every view, views.html, and the same for programs, views.json.

    Question, grain, columns with units, tests, SQL and a picture of what reads what. Needs no server and no network.

    Examples: quantbot views docs, quantbot views docs --out site/ --select 'mart_*'
    """
    from quantbot_pipeline.cli.stores import load_checked_settings
    from quantbot_pipeline.errors import ConfigError
    from quantbot_pipeline.storage.views import load_selected_views
    from quantbot_pipeline.storage.views.catalogue import write_catalogue

    folder = load_checked_settings().reports_directory / "views" if out is None else out
    with waiting("reading the views"):
        selected = load_selected_views(_databases(database), select or ())
        try:
            page, data = write_catalogue(selected.chosen, folder)
        except OSError as error:
            raise ConfigError(f"--out {folder} can't be written to: {error.strerror}; choose another folder") from error
    _warn_of_refused([(where, name, reason) for (where, name), reason in selected.refused.items()])
    if as_json:
        print_json({"page": str(page), "data": str(data)})
    else:
        print_line(f"page: {page}")
        print_line(f"data: {data}")


def _databases(database: "Database | None") -> "tuple[Database, ...]":
    return ("postgres", "clickhouse") if database is None else (database,)
