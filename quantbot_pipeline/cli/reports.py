"""`quantbot report`."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_warning, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.result_lists import Since, since_seconds, warn_of_views
from quantbot_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from quantbot_pipeline.report.site_content import Narrowing

_HELP = flowing(
    """Build the views and write the HTML report of what is stored now: pages that work without a network.

Open index.html in the folder that is printed. The whole report goes to reports/ in the home. --strategy, --caller and
--since narrow it to what was asked for, in a folder beside it; --run adds the pages of runs that would have none. Pages
that would show the same as before are left as they are.

Examples:
  quantbot report
  quantbot report --run 17
  quantbot report --strategy conservative-24h --since 2025-03-01 --out march/
  quantbot report --caller telegram/brook --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def report(
        *,
        run: list[int] = typer.Option([], "--run", help="Make the page of this run; may be repeated.", metavar="ID"),
        strategy: str = typer.Option("", "--strategy", help="Only this strategy.", metavar="NAME[@VERSION]"),
        caller: str = typer.Option("", "--caller", help="Only this caller's calls.", metavar="SOURCE/HANDLE"),
        since: Since = "",
        out: Path | None = typer.Option(None, "--out", help="Folder to write to.", metavar="DIR"),
        as_json: bool = typer.Option(False, "--json", help="Print paths and counts of pages as JSON."),
    ) -> None:
        narrowing = _narrowing(run, caller, since)
        from quantbot_pipeline.cli.known_names import refuse_unknown_names
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.views import build_views
        from quantbot_pipeline.storage.views.readers import views_read_by
        from quantbot_pipeline.workflows.write_report import write_current_report

        with open_stores() as stores, waiting("building the views") as show:
            refuse_unknown_names(stores.state, {"strategy": strategy, "caller": caller})
            for run_id in narrowing.run_ids:
                refuse_unknown_names(stores.state, {"run_id": run_id})
            versions = {f"{row.name}@{row.version}": row for row in stores.state.load_strategies()}
            names = {row.name for row in versions.values()}
            # A name may hold an @ itself.
            chosen = None if strategy in names else versions.get(strategy)
            narrowing = replace(
                narrowing,
                strategy=strategy if chosen is None else chosen.name,
                version="" if chosen is None else chosen.version,
            )
            others = build_views(stores.urls.postgres, stores.urls.clickhouse, is_tolerant=True).require(
                views_read_by("report", "trades")
            )
            show("writing the report")
            written = write_current_report(
                stores.state,
                stores.history,
                out or stores.settings.reports_directory / narrowing.folder(),
                narrowing=narrowing,
                on_progress=show,
            )
        warn_of_views(others)
        if written.undrawn:
            first = next(iter(written.undrawn.values()))
            runs = "1 run" if len(written.undrawn) == 1 else f"{len(written.undrawn):,} runs"
            print_warning(
                f"trades of {runs} are not drawn, because this version can't read the strategies as they were stored; "
                f"the first: {first}"
            )
        if written.is_empty:
            print_warning(f"no calls match ({narrowing.words()}); leave an option out to see more")
        changes = written.changes
        if as_json:
            print_json(
                {
                    "report": str(changes.index),
                    "pages": changes.page_count,
                    "written": changes.written,
                    "unchanged": changes.unchanged,
                    "removed": changes.removed,
                    "asked_for": [str(path) for path in written.asked_for],
                }
            )
            return
        print_line(f"report: {changes.index}")
        for path in written.asked_for:
            print_line(f"asked for: {path}")
        print_line(f"{changes.page_count} pages, {changes.written} of them written, {changes.removed} removed")


def _narrowing(run_ids: list[int], caller: str, since: str) -> "Narrowing":
    from quantbot_pipeline.report.site_content import Narrowing

    source, slash, handle = caller.partition("/")
    if caller and not (source and slash and handle):
        raise ConfigError(
            f"--caller '{caller}' names no caller; allowed is SOURCE/HANDLE, as 'quantbot callers list' shows them"
        )
    return Narrowing(
        caller=(source, handle) if caller else None,
        since=datetime.fromtimestamp(since_seconds(since), UTC) if since else None,
        run_ids=tuple(dict.fromkeys(run_ids)),
    )
