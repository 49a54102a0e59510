"""`quantbot quarantine`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows
from quantbot_pipeline.cli.help_text import flowing

_HELP = flowing(
    """List rows that imports could not use, with the reason and the row as it was; the newest import first.

A row that went in after all, because the same file was imported again with other options, is shown as resolved.

Examples:
  quantbot quarantine
  quantbot quarantine --open
  quantbot quarantine --file calls.csv --limit 500 --json
"""
)


class ImportKind(StrEnum):
    """What was imported."""

    ALERTS = "alerts"
    CANDLES = "candles"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def quarantine(
        file: str | None = typer.Option(None, help="Name of a file, or its path as it was imported."),
        kind: ImportKind | None = typer.Option(None, help="What was imported."),
        limit: int = typer.Option(20, min=1, max=100_000, help="Most rows to list."),
        *,
        is_open_only: bool = typer.Option(False, "--open", help="Leave out rows that went in after all."),
        as_json: bool = typer.Option(False, "--json", help="Print the rows as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        chosen = {"file": file, "kind": None if kind is None else kind.value}
        with open_stores() as stores:
            counts = stores.state.read("quarantine/count_rows", **chosen).to_pylist()
            rows = stores.state.read(
                "quarantine/load_rows", **chosen, is_open_only=is_open_only, limit=limit
            ).to_pylist()
        total, resolved = (sum(row[name] for row in counts) for name in ("quarantined", "resolved"))
        if as_json:
            shown = [{name: value for name, value in row.items() if name != "import_id"} for row in rows]
            files = [{name: row[name] for name in ("kind", "file", "quarantined", "resolved")} for row in counts]
            print_json({"total": total, "resolved": resolved, "files": files, "rows": shown})
            return
        print_rows(
            "In quarantine",
            [_shown(row, with_resolved=resolved > 0) for row in rows],
            if_none="no row is in quarantine" + (" of what was asked for" if file or kind or total else ""),
        )
        left = total - len(rows) - (resolved if is_open_only else 0)
        if left:
            print_line(f"… and {left:,} more; --limit lists more, --json tells the rows as they were")
        if resolved:
            print_line(f"{resolved:,} of {total:,} rows went in after all, with another import of the same file")


def _shown(row: Mapping[str, Any], *, with_resolved: bool) -> dict[str, Any]:
    shown = {"file": f"{row['file']}:{row['line']}", "field": row["field"], "reason": row["reason"]}
    if with_resolved:
        shown["went in"] = f"{row['resolved_at']:%Y-%m-%d}" if row["resolved_at"] else "-"
    return shown
