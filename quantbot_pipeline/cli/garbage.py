"""`quantbot gc`."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, progress_bar
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import finite

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.collect_garbage import Garbage

_HELP = flowing(
    """Remove what dead attempts left behind; nothing that anybody can see.

A run that was begun and not completed is shown nowhere; its next attempt replaces what it stored. Where none comes,
this removes its events and aggregates. Also removed are rows in ClickHouse of runs that Postgres does not know, and
model files of processes that died while they wrote, and the table of a backup that was killed. Runs that another
process works on are left alone, so this may run at any time. The runs' rows in Postgres stay: they say what was
attempted, and can be taken up again. What was completed and not yet mirrored to ClickHouse is mirrored.

Examples:
  quantbot gc --dry-run
  quantbot gc --json
  quantbot gc --older-than-hours 6
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("gc", help=_HELP)
    def collect(
        older_than_hours: float = typer.Option(
            0.0,
            min=0.0,
            max=87_600.0,
            callback=finite,
            help="Leave runs alone that were begun within these hours, dead or not.",
        ),
        *,
        dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be removed, and remove nothing."),
        as_json: bool = typer.Option(False, "--json", help="Print what was removed as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.collect_garbage import collect_garbage, remove_backup_clone

        with open_stores() as stores, progress_bar("dead runs") as listen:
            found = collect_garbage(
                stores.state,
                stores.history,
                now=datetime.now(UTC),
                leave_younger_than=timedelta(hours=older_than_hours),
                folders=[stores.settings.models_directory],
                dry_run=dry_run,
                on_progress=listen,
            )
            clone = remove_backup_clone(stores.state, stores.urls.clickhouse, dry_run=dry_run)
        if as_json:
            print_json({**asdict(found), "backup_table": clone, "dry_run": dry_run})
        else:
            _print_garbage(found, older_than_hours, "would remove" if dry_run else "removed", clone)


def _print_garbage(found: "Garbage", older_than_hours: float, removed: str, clone: str | None) -> None:
    dead = found.runs_running + found.runs_failed
    if not (dead or found.runs_unknown or found.files or clone):
        print_line("nothing to remove: no run was begun and left")
    if dead:
        print_line(
            f"{dead:,} runs were begun and not completed ({found.runs_running:,} died, {found.runs_failed:,} failed)"
        )
    if found.runs_unknown:
        print_line(f"{found.runs_unknown:,} runs have rows in ClickHouse and are not known to Postgres")
    if dead or found.runs_unknown:
        print_line(f"{removed} their {found.events:,} events and {found.aggregates:,} aggregates")
    for path in found.files:
        print_line(f"{removed} {path}")
    if clone:
        print_line(f"{removed} table {clone} in ClickHouse, of a backup that was killed")
    if found.runs_to_mirror or found.calls_to_mirror:
        did = "mirrored anew" if removed == "removed" else "to mirror anew"
        print_line(f"{found.runs_to_mirror:,} runs and {found.calls_to_mirror:,} calls {did}")
    if found.runs_working:
        print_line(f"{found.runs_working:,} runs are being worked on and are left alone")
    if found.runs_young:
        print_line(f"{found.runs_young:,} runs were begun within {older_than_hours:g} hours and are left alone")
