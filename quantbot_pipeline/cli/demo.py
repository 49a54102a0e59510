"""`quantbot demo`: the main job, end to end, and the sums that must hold afterwards."""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import typer

from quantbot_pipeline.cli.console import StageListener, messages, output, print_json, print_line, progress_stages
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.errors import InputError

_HELP = flowing(
    """Run everything once: ingest, calls, simulations, search, features, model, views, report.

Everything is recorded in Dagster; 'quantbot up --ui' shows it. Running it again changes no count and is quicker.
Exit code 0 says that every count is as it must be.

Examples:
  quantbot demo
  quantbot demo --candles candles/ --alerts alerts.csv --source telegram --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def demo(
        candles: Path | None = typer.Option(
            None, help="Folder (or file) of your own candles; a synthetic sample without it."
        ),
        alerts: list[Path] = typer.Option([], help="Your own alert file (or folder); repeatable. Needs --candles."),
        source: str = typer.Option("file", help="Where the callers of your alerts are from."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        if (candles is None) != (not alerts):
            given, missing = ("--alerts", "--candles") if candles is None else ("--candles", "--alerts")
            raise InputError(f"found {given} without {missing}; allowed are both, or neither for the synthetic sample")
        summary = _run(candles, alerts, source)
        if as_json:
            print_json(summary)
        else:
            _print_summary(summary)


def _run(candles: Path | None, alerts: list[Path], source: str) -> dict[str, Any]:
    from quantbot_pipeline.cli.stores import open_stores
    from quantbot_pipeline.workflows.check_files import check_alert_files
    from quantbot_pipeline.workflows.find_files import find_alert_files, find_candle_files

    started = time.perf_counter()
    seconds: dict[str, float] = {}
    expected: dict[str, int] | None = None
    candle_files = [] if candles is None else find_candle_files([candles])
    alert_files = find_alert_files(alerts)
    with progress_stages() as on_stage:
        on_stage("servers and schema", 0, 1)
        with open_stores(on_progress=_note) as stores:
            on_stage("servers and schema", 1, 1)
            seconds["servers and schema"] = time.perf_counter() - started
            from quantbot_pipeline.defs.main_job import open_main_job
            from quantbot_pipeline.workflows.import_alerts import AlertImportOptions
            from quantbot_pipeline.workflows.integrity import check_integrity

            if candles is None:
                expected, candle_files, alert_files = _write_sample(stores.settings.home / "sample", seconds, on_stage)
            # The job reads all candle files before it stores anything, but takes alert files one by one.
            check_alert_files(
                alert_files, options=AlertImportOptions(source=source), first_month=stores.settings.first_month
            )
            with open_main_job(stores.settings, on_stage) as job:
                job.run(candle_files, alert_files, stores.state, stores.history, source=source)
            seconds |= job.seconds
            counts = check_integrity(
                stores.state,
                stores.history,
                candle_files=candle_files,
                alert_files=alert_files,
                expected=expected,
            )
            report = stores.settings.reports_directory / "index.html"
    return counts | {
        "report": str(report),
        "seconds": round(time.perf_counter() - started, 1),
        "stages": {name: round(value, 2) for name, value in seconds.items()},
    }


def _note(message: str) -> None:
    """Pass on what is worth keeping; what is waited for has its bar."""
    if message.startswith("note: "):
        messages.print(message, markup=False, soft_wrap=True)


def _write_sample(
    directory: Path, seconds: dict[str, float], on_stage: StageListener
) -> tuple[dict[str, int], list[Path], list[Path]]:
    from quantbot_pipeline.sample.generate import write_sample

    started = time.perf_counter()
    on_stage("synthetic sample", 0, 1)
    files = write_sample(directory)
    seconds["synthetic sample"] = time.perf_counter() - started
    on_stage("synthetic sample", 1, 1)
    return files.expected, list(files.candle_files), list(files.alert_files)


_LABELS = {
    "candles": "candles stored",
    "alerts": "alerts stored",
    "duplicates": "duplicate rows",
    "quarantined": "rows in quarantine",
    "calls": "calls derived",
    "runs_completed": "simulation runs",
    "runs_failed": "failed runs",
    "events": "events",
    "aggregates": "aggregates",
    "trials": "optimization trials",
    "models_ready": "models ready",
}


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Everything adds up", title_justify="left", title_style="bold green", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, label in _LABELS.items():
        table.add_row(label, f"{summary[name]:,}")
    output.print(table)
    stages = Table(title="Where the time went", title_justify="left", title_style="bold", show_header=False)
    stages.add_column()
    stages.add_column(justify="right")
    for name, value in summary["stages"].items():
        stages.add_row(name, f"{value:.1f} s")
    stages.add_row("[bold]total", f"[bold]{summary['seconds']:.1f} s")
    output.print(stages)
    print_line(f"Report:  {summary['report']}")
    command = _command()
    print_line(f"Lineage: {command} up --ui")
    print_line(f"Yours:   {command} demo --candles DIR --alerts FILE")
    messages.print(f"the servers go on running; '{command} down' stops them", style="dim")


def _command() -> str:
    """Return what to type for this command: its name where the shell finds it, else its path."""
    if shutil.which("quantbot") is not None:
        return "quantbot"
    return os.path.relpath(sys.argv[0])
