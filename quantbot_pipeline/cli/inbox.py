"""`quantbot ingest inbox`."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import messages, print_json, print_line, print_rows, print_warning, waiting
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.cli.stores import OpenStores
    from quantbot_pipeline.workflows.import_alerts import AlertImportOptions
    from quantbot_pipeline.workflows.inbox import Looks, TakenFile

_HELP = flowing(
    """Take files that were put into the folders inbox/alerts and inbox/candles of the home, each once.

A file is taken when two looks, QUANTBOT_INBOX_SETTLE_SECONDS apart, find it unchanged; names that begin with a dot or
end in .part, .tmp and their like are left alone. It is moved to 'done', or to 'failed' if it can't be read, with a
report beside it. New tokens become partitions, and calls are derived. Without --once, this goes on until Ctrl-C; the
sensors in the Dagster UI do the same.

Examples:
  quantbot ingest inbox --once --json
  quantbot ingest inbox --source telegram --timezone Europe/Berlin
"""
)


def add_inbox_command(group: typer.Typer) -> None:
    """Add the command to the group `ingest`."""

    @group.command(help=_HELP)
    def inbox(
        source: str = typer.Option("file", help="Where the callers of alert files are from."),
        timezone: str | None = typer.Option(None, help="IANA zone of times without offset, of alerts and candles."),
        *,
        once: bool = typer.Option(False, "--once", help="Take what is there and complete, and end."),
        as_json: bool = typer.Option(
            False, "--json", help="Print the reports as JSON; without --once, one document per line and look."
        ),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.workflows.import_alerts import AlertImportOptions

        options = AlertImportOptions(source=source, timezone=timezone)
        with open_stores() as stores:
            settle_seconds = stores.settings.inbox_settle_seconds
            for kind in ("alerts", "candles"):
                (stores.settings.inbox / kind).mkdir(parents=True, exist_ok=True)
            if not once:
                messages.print(f"watching {stores.settings.inbox}; Ctrl-C ends it", markup=False, soft_wrap=True)
            looks: dict[str, Looks] = {}
            rounds = 0
            while True:
                taken = _take_complete(stores, options, looks)
                rounds += 1
                if once and rounds == 2:
                    _print(taken, as_json=as_json)
                    return
                if not once and any(taken.values()):
                    _print(taken, as_json=as_json, one_line=True)
                time.sleep(settle_seconds if once else max(settle_seconds, 1.0))


def _take_complete(
    stores: "OpenStores", options: "AlertImportOptions", looks: "dict[str, Looks]"
) -> "dict[str, list[TakenFile]]":
    """Look once, take what is complete and what was left half taken, and tell Dagster."""
    from datetime import UTC, datetime

    from quantbot_pipeline.workflows.import_candles import CandleImportOptions
    from quantbot_pipeline.workflows.inbox import (
        AlertImporter,
        CandleImporter,
        FileImporter,
        alert_inbox,
        candle_inbox,
        find_leftovers,
        look_around,
        take_files,
        watch,
    )

    settings = stores.settings
    candle_options = CandleImportOptions(timezone=options.timezone, now=datetime.now(UTC))
    importers: dict[str, FileImporter] = {
        "alerts": AlertImporter(stores.state, options),
        "candles": CandleImporter(stores.state, stores.history, settings.first_month, candle_options),
    }
    taken: dict[str, list[TakenFile]] = {}
    for kind, folder in (("alerts", alert_inbox(settings.inbox)), ("candles", candle_inbox(settings.inbox))):
        known = looks.get(kind)
        # The time to settle has passed between two looks of this process: a clock may be a little off it.
        complete, looks[kind] = watch(look_around(folder), known or {}, now=time.time(), settle_seconds=0)
        taken[kind] = []
        # Leftovers wait for the second look as well: at the first, somebody else may be at work on them.
        if complete or (known is not None and find_leftovers(folder)):
            with waiting(f"taking {kind}"):
                taken[kind] = take_files(folder, complete, importers[kind], now=lambda: datetime.now(UTC))
    _record(stores, taken)
    return taken


def _record(stores: "OpenStores", taken: "Mapping[str, list[TakenFile]]") -> None:
    done = {kind: [file for file in files if not file.is_failed] for kind, files in taken.items()}
    if not any(done.values()):
        return
    from quantbot_pipeline.defs.ingest_assets import taken_token_months
    from quantbot_pipeline.defs.recording import record_alert_import, record_token_months
    from quantbot_pipeline.workflows.derive_calls import choose_rules, derive_calls

    with waiting("deriving calls") as tell:
        derive_calls(stores.state, stores.history, choose_rules(stores.state, stores.settings))
        tell("recording it in Dagster")
        if keys := taken_token_months(done["candles"]):
            record_token_months(keys, stores.history, stores.settings)
        record_alert_import(stores.state, stores.settings)


def _print(taken: "Mapping[str, list[TakenFile]]", *, as_json: bool, one_line: bool = False) -> None:
    reports: list[dict[str, Any]] = [
        {"kind": kind, **_shown(file.report)} for kind, files in taken.items() for file in files
    ]
    totals = {
        "files": len(reports),
        "failed": sum(report["state"] == "failed" for report in reports),
        **{
            name: sum(report.get(name) or 0 for report in reports)
            for name in ("rows", "stored", "duplicates", "quarantined")
        },
    }
    if as_json:
        if one_line:
            import json

            typer.echo(json.dumps({"files": reports, "totals": totals}, ensure_ascii=True))
        else:
            print_json({"files": reports, "totals": totals})
    else:
        columns = ("kind", "file", "state", "rows", "stored", "duplicates", "quarantined", "known")
        print_rows(
            "Taken", [{name: report.get(name) for name in columns} for report in reports], if_none="no complete file"
        )
        if totals["quarantined"]:
            print_line("'quantbot quarantine' lists the rows that could not be used")
    for report in reports:
        if report["state"] == "failed":
            print_warning(f"{report['moved_to']}: {report['error']}")
        elif "rows" in report and report["rows"] == report["quarantined"]:
            found = f"none of its {report['rows']:,} rows could be used, all are in quarantine"
            advice = f"; {report['advice']}" if report.get("advice") else ""
            print_warning(f"{report['moved_to']}: {found if report['rows'] else 'no rows'}{advice}")
        elif report.get("advice"):
            print_warning(f"{report['moved_to']}: {report['quarantined']:,} rows are in quarantine; {report['advice']}")


def _shown(report: Mapping[str, Any]) -> dict[str, Any]:
    # Thousands of token-months are for programs, which find them in the report's file.
    return {name: value for name, value in report.items() if name != "token_months"}
