"""`quantbot quarantine`."""

from enum import StrEnum

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows
from quantbot_pipeline.cli.help_text import flowing

_HELP = flowing(
    """List rows that imports could not use, with the reason and the row as it was; the newest import first.

Examples:
  quantbot quarantine
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
        as_json: bool = typer.Option(False, "--json", help="Print the rows as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        chosen = {"file": file, "kind": None if kind is None else kind.value}
        with open_stores() as stores:
            counts = stores.state.read("quarantine/count_rows", **chosen).to_pylist()
            rows = stores.state.read("quarantine/load_rows", **chosen, limit=limit).to_pylist()
        total = sum(row["quarantined"] for row in counts)
        if as_json:
            shown = [{name: value for name, value in row.items() if name != "import_id"} for row in rows]
            files = [{name: row[name] for name in ("kind", "file", "quarantined")} for row in counts]
            print_json({"total": total, "files": files, "rows": shown})
            return
        print_rows(
            "In quarantine",
            [{"file": f"{row['file']}:{row['line']}", "field": row["field"], "reason": row["reason"]} for row in rows],
            if_none="no row is in quarantine" + (" of what was asked for" if file or kind else ""),
        )
        if total > len(rows):
            print_line(f"… and {total - len(rows):,} more; --limit lists more, --json tells the rows as they were")
