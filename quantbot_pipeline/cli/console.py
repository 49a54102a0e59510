"""What all commands share: where text goes, how progress and JSON are shown."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from quantbot_pipeline.workflows.progress import ProgressListener

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)
"""Progress and errors go to standard error, so that standard output holds the result alone."""


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def progress_display() -> Progress:
    """Return the progress bars of the project; they vanish when the work is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
    )


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressListener]:
    """Show one bar while a workflow runs; yields the listener to give to it."""
    with progress_display() as display:
        task = display.add_task(description, total=None)

        def listen(done: int, total: int, message: str) -> None:
            display.update(task, completed=done, total=total, description=f"{description}: {message}")

        yield listen


def rows_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of rows that have the same columns; numbers are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    first = rows[0] if rows else {}
    for name, value in first.items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    return table
