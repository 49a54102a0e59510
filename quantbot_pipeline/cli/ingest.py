"""`quantbot ingest candles|alerts`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from quantbot_pipeline.cli.console import output, print_json, progress_bar, rows_table
from quantbot_pipeline.workflows.import_candles import ImportOutcome


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Take candles and alerts from files.", no_args_is_help=True)
    app.add_typer(group, name="ingest")

    @group.command()
    def candles(
        paths: list[Path] = typer.Argument(..., help="Parquet or CSV files, or folders of them."),
        chain: str | None = typer.Option(None, help="Chain or exchange of all rows, for files without the column."),
        token: str | None = typer.Option(None, help="Token address of all rows, for files without the column."),
        interval: str | None = typer.Option(
            None, help="Interval of all rows, such as 5m, for files without the column."
        ),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        """Store candles; every row is stored, a duplicate, or quarantined with its reason."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.defs.recording import record_candle_imports
        from quantbot_pipeline.workflows.import_candles import (
            CANDLE_SUFFIXES,
            CandleImportOptions,
            expand_files,
            import_candle_files,
        )

        files = expand_files(paths, CANDLE_SUFFIXES)
        options = CandleImportOptions(chain, token, interval, timezone)
        with open_stores() as stores:
            with progress_bar("candles") as listen:
                outcomes = import_candle_files(files, stores.state, stores.history, options=options, on_progress=listen)
            record_candle_imports(outcomes, stores.history, stores.settings, stores.urls)
        _print_outcomes(outcomes, as_json=as_json)

    @group.command()
    def alerts(
        paths: list[Path] = typer.Argument(..., help="CSV or JSON Lines files, or folders of them."),
        source: str = typer.Option("file", help="Where the callers are from, such as a messenger or a group."),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        """Store alerts and derive their calls; every row is stored, a duplicate, or quarantined."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.defs.recording import record_alert_import
        from quantbot_pipeline.workflows.import_alerts import ALERT_SUFFIXES, derive_calls, import_alert_files
        from quantbot_pipeline.workflows.import_candles import expand_files

        files = expand_files(paths, ALERT_SUFFIXES)
        with open_stores() as stores:
            with progress_bar("alerts") as listen:
                outcomes = import_alert_files(files, stores.state, source=source, timezone=timezone, on_progress=listen)
            derive_calls(stores.state)
            record_alert_import(stores.state, stores.settings, stores.urls)
        _print_outcomes(outcomes, as_json=as_json)


def _print_outcomes(outcomes: Sequence[ImportOutcome], *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "file": outcome.record.file,
            "rows": outcome.record.rows_read,
            "stored": outcome.record.rows_stored,
            "duplicates": outcome.record.rows_duplicate,
            "quarantined": outcome.record.rows_quarantined,
            "known": "yes" if outcome.is_known else "",
        }
        for outcome in outcomes
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("rows", "stored", "duplicates", "quarantined")}
    reasons = [f"{row.file}:{row.line}: {row.reason}" for outcome in outcomes for row in outcome.record.quarantined]
    if as_json:
        print_json(
            {
                "files": [row | {"known": bool(row["known"])} for row in rows],
                "totals": totals,
                "quarantined": reasons,
            }
        )
        return
    shown = (
        rows
        if len(rows) <= 20
        else [*rows[:19], {"file": f"… {len(rows) - 19} more", **dict.fromkeys(list(rows[0])[1:], "")}]
    )
    output.print(rows_table("Imported", [*shown, {"file": "total", **totals, "known": ""}]))
    for reason in reasons[:10]:
        output.print(f"quarantined {reason}", markup=False, soft_wrap=True)
    if len(reasons) > 10:
        output.print(f"… and {len(reasons) - 10} more rows; all are in the table 'quarantine'", markup=False)
