"""`quantbot gc`."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import typer

from quantbot_pipeline.cli.console import print_json, print_line, progress_bar
from quantbot_pipeline.cli.help_text import flowing

_HELP = flowing(
    """Remove what dead attempts left behind in ClickHouse.

A run that was begun and not completed is shown nowhere; its next attempt replaces what it stored. Where none comes,
this removes its events and aggregates. Runs that were begun within the last hours are left alone, because a process
may work on them. The runs' rows in Postgres stay: they say what was attempted, and can be taken up again.

Examples:
  quantbot gc
  quantbot gc --older-than-hours 0 --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("gc", help=_HELP)
    def collect(
        older_than_hours: float = typer.Option(
            6.0, min=0.0, max=87_600.0, help="Age from which a run counts as dead; 0 only when nothing else runs."
        ),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print what was removed as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.collect_garbage import collect_garbage

        now = datetime.now(UTC)
        with open_stores() as stores, progress_bar("dead runs") as listen:
            found = collect_garbage(
                stores.state,
                stores.history,
                begun_before=now - timedelta(hours=older_than_hours),
                now=now,
                on_progress=listen,
            )
        if as_json:
            print_json(asdict(found))
            return
        dead = found.runs_running + found.runs_failed
        print_line(
            f"{dead:,} runs were begun and not completed ({found.runs_running:,} died, {found.runs_failed:,} failed): "
            f"removed their {found.events:,} events and their aggregates"
            if dead
            else "nothing to remove: no run was begun and left"
        )
        if found.runs_young:
            print_line(f"{found.runs_young:,} runs were begun within {older_than_hours:g} hours and are left alone")
