"""`quantbot ingest candles|alerts|inbox`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import (
    output,
    print_json,
    print_line,
    print_warning,
    progress_bar,
    rows_table,
    waiting,
)
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.inbox import add_inbox_command

if TYPE_CHECKING:
    from quantbot_pipeline.storage.records import ImportRecord
    from quantbot_pipeline.workflows.import_candles import ImportOutcome

_FILES_SHOWN = 20
# The rest is in the table: a file of a wrong kind has one reason per row, tens of thousands.
_REASONS_IN_JSON = 100

_CANDLES_HELP = flowing(
    """Store candles; every row is stored, a duplicate, or quarantined with its reason.

Files: .parquet, .feather, .csv, .json, .jsonl, .ndjson, text also with .gz. Columns: token_address, chain, timestamp,
interval, open, high, low, close, volume. Timestamps are UTC, with offset, or naive with --timezone; token_address,
chain and interval may come from options or the file's name instead; what was taken from a name is told.

Files are looked through first, each up to a million rows. A file you name that can't be read, or that reaches back
before QUANTBOT_FIRST_MONTH, is refused with exit code 2, and nothing is stored. Such a file in a folder you name is
left out and listed, the others are stored. What breaks behind the first million rows keeps the rows before, with
exit code 2 if you named the file. A file that is known already changes nothing. Rows that can't be used do not stop
the others: they are kept in the table 'quarantine', and the exit code is 0.

Examples:
  quantbot ingest candles candles/
  quantbot ingest candles BONK.csv --chain binance --token BONK_USDT --interval 5m
"""
)

_ALERTS_HELP = flowing(
    """Store alerts and derive their calls; every row is stored, a duplicate, or quarantined.

Takes Telegram Desktop's result.json and messages.html, and CSV, JSON and JSON Lines with columns such as caller,
token_address, chain, timestamp, price_at_alert, mcap_at_alert; --map names what has other names. An alert that is
stored already keeps what it says; what it left open is filled.

All files are looked through first: one you name that can't be read is refused with exit code 2, and nothing is
stored; one in a folder you name is left out and listed. A file that is known already changes nothing. Rows that can't
be used do not stop the others: they are kept in the table 'quarantine', and the exit code is 0, with a warning where
a file has no other rows.

Examples:
  quantbot ingest alerts alerts.csv --source telegram
  quantbot ingest alerts exports/ --timezone Europe/Berlin --json
  quantbot ingest alerts dump.csv --map "Call by=caller" --map ca=token_address --chain base
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Take candles and alerts from files.", no_args_is_help=True)
    app.add_typer(group, name="ingest")

    @group.command(help=_CANDLES_HELP)
    def candles(
        paths: list[Path] = typer.Argument(
            ..., help="Parquet, feather, CSV, JSON or JSON Lines files, or folders of them.", metavar="PATH"
        ),
        chain: str | None = typer.Option(None, help="Chain or exchange of all rows, for files without the column."),
        token: str | None = typer.Option(None, help="Token address of all rows, for files without the column."),
        interval: str | None = typer.Option(
            None, help="Interval of all rows, such as 5m, for files without the column."
        ),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        wick_limit: float | None = typer.Option(
            None, help="Flag candles whose wick reaches this many times beyond the body, such as 10; none without it."
        ),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.candle_outcomes import print_candle_outcomes
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import DataError, QuantbotError
        from quantbot_pipeline.workflows.check_files import check_candle_files
        from quantbot_pipeline.workflows.find_files import find_candle_files
        from quantbot_pipeline.workflows.import_candles import CandleImportOptions, import_candle_files

        files = find_candle_files(paths)
        options = CandleImportOptions(chain, token, interval, timezone, wick_limit, datetime.now(UTC))
        refused: dict[Path, str] = {}
        is_storing = False

        def refuse(path: Path, error: QuantbotError) -> None:
            # A file that was named is meant; one that merely lies in a folder does not stop the others.
            if path in paths and not is_storing:
                raise error
            refused[path] = str(error)

        with open_stores() as stores:
            with progress_bar("looking through files") as listen:
                sources = check_candle_files(
                    files,
                    stores.state,
                    first_month=stores.settings.first_month,
                    options=options,
                    on_progress=listen,
                    on_refused=refuse,
                )
            if not sources:
                raise DataError(f"none of the {len(refused):,} files can be imported:\n" + "\n".join(refused.values()))
            is_storing = True
            with progress_bar("candles") as listen:
                outcomes = import_candle_files(
                    [source.path for source in sources],
                    stores.state,
                    stores.history,
                    options=options,
                    on_progress=listen,
                    sources=sources,
                    on_refused=refuse,
                )
            if not all(outcome.is_known for outcome in outcomes):
                from quantbot_pipeline.workflows.derive_calls import derive_calls

                with waiting("deriving calls") as tell:
                    # Candles can tell the chain of a token that alerts named by its address alone.
                    derive_calls(stores.state, stores.history)
                    tell("recording it in Dagster")
                    from quantbot_pipeline.defs.recording import record_candle_imports

                    record_candle_imports(outcomes, stores.history, stores.settings)
        print_candle_outcomes(outcomes, refused, as_json=as_json)
        if any(path in refused for path in paths):
            raise typer.Exit(2)

    @group.command(help=_ALERTS_HELP)
    def alerts(
        paths: list[Path] = typer.Argument(
            ..., help="Exported chats, CSV, JSON or JSON Lines files, or folders of them.", metavar="PATH"
        ),
        source: str = typer.Option("file", help="Where the callers are from, such as a messenger or a group."),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        mapping: list[str] = typer.Option(
            [], "--map", help="What a column is, such as 'Call by=caller'; repeatable.", metavar="COLUMN=FIELD"
        ),
        chain: str | None = typer.Option(
            None, help="Chain of 0x addresses and pair names that nothing else places on one."
        ),
        caller: str | None = typer.Option(None, help="Caller of rows that name none."),
        chat: str | None = typer.Option(None, help="Id of the chat, which an HTML export does not hold."),
        pool_map: Path | None = typer.Option(
            None, help="CSV with pool_address and base_mint: which token each pool trades."
        ),
        bots: list[str] = typer.Option(
            [], "--bot", help="Name or id of a bot that answers calls, instead of the known ones; repeatable."
        ),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import DataError, QuantbotError
        from quantbot_pipeline.ingest.alert_files import read_pool_map
        from quantbot_pipeline.workflows.check_files import check_alert_files
        from quantbot_pipeline.workflows.derive_calls import choose_rules, derive_calls
        from quantbot_pipeline.workflows.find_files import find_alert_files
        from quantbot_pipeline.workflows.import_alerts import AlertImportOptions, import_alert_files

        files = find_alert_files(paths)
        options = AlertImportOptions(
            source=source,
            timezone=timezone,
            chain=chain,
            caller=caller,
            chat=chat,
            columns=_columns(mapping),
            mints_of_pools=read_pool_map(pool_map) if pool_map is not None else {},
            bots=tuple(bots) or None,
        )
        refused: dict[Path, str] = {}

        def refuse(path: Path, error: QuantbotError) -> None:
            # A file that was named is meant; one that merely lies in a folder does not stop the others.
            if path in paths:
                raise error
            refused[path] = str(error)

        with progress_bar("looking through files") as listen:
            usable = check_alert_files(files, options=options, on_progress=listen, on_refused=refuse)
        if not usable:
            raise DataError(f"none of the {len(refused):,} files can be imported:\n" + "\n".join(refused.values()))
        with open_stores() as stores:
            with progress_bar("alert files") as listen:
                outcomes = import_alert_files(usable, stores.state, options=options, on_progress=listen)
            with waiting("deriving calls") as tell:
                rules = choose_rules(stores.state, stores.settings)
                new_calls = derive_calls(stores.state, stores.history, rules).counts.new
                if new_calls or not all(outcome.is_known for outcome in outcomes):
                    tell("recording it in Dagster")
                    from quantbot_pipeline.defs.recording import record_alert_import

                    record_alert_import(stores.state, stores.settings)
        _print_outcomes(usable, outcomes, refused, as_json=as_json, new_calls=new_calls)

    add_inbox_command(group)


def _columns(mapping: Sequence[str]) -> dict[str, str]:
    """Return field by column of `COLUMN=FIELD` texts; a column may hold '=' itself, a field may not."""
    from quantbot_pipeline.errors import InputError

    columns: dict[str, str] = {}
    for text in mapping:
        column, equals, field = text.rpartition("=")
        if not equals or not column.strip() or not field.strip():
            raise InputError(f"--map: allowed is COLUMN=FIELD, such as 'Call by=caller', found {text!r}")
        if columns.setdefault(column, field.strip()) != field.strip():
            raise InputError(f"--map: column {column!r} is given twice, as {columns[column]!r} and {field.strip()!r}")
    return columns


def _print_outcomes(
    files: Sequence[Path],
    outcomes: "Sequence[ImportOutcome]",
    refused: Mapping[Path, str],
    *,
    as_json: bool,
    new_calls: int,
) -> None:
    from quantbot_pipeline.cli.candle_outcomes import largest_reasons  # the grouping is one for both kinds

    # The name that was given now: a file that is known may have come under another.
    rows: list[dict[str, Any]] = [
        {
            "file": str(file),
            "rows": outcome.record.rows_read,
            "stored": outcome.record.rows_stored,
            "duplicates": outcome.record.rows_duplicate,
            "quarantined": outcome.record.rows_quarantined,
            "known": outcome.is_known,
        }
        for file, outcome in zip(files, outcomes, strict=True)
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("rows", "stored", "duplicates", "quarantined")}
    kinds = largest_reasons(
        [{"file": file, "reasons": _reasons(outcome.record)} for file, outcome in zip(files, outcomes, strict=True)]
    )
    notes = [
        f"{file}: {note}"
        for file, outcome in zip(files, outcomes, strict=True)
        for note in outcome.record.details.get("notes", [])
    ]
    if as_json:
        quarantined = [
            f"{row.file}:{row.line}: {row.reason}" for outcome in outcomes for row in outcome.record.quarantined
        ]
        print_json(
            {
                "files": rows,
                "totals": totals,
                "new_calls": new_calls,
                "notes": notes,
                "refused": [{"file": str(path), "reason": reason} for path, reason in refused.items()],
                "reasons": kinds,
                "quarantined_total": totals["quarantined"],
                "quarantined": quarantined[:_REASONS_IN_JSON],
            }
        )
    else:
        _print_table([row | {"file": file.name} for row, file in zip(rows, files, strict=True)], totals, kinds)
    for path, reason in refused.items():
        print_warning(reason if str(path) in reason else f"{path}: {reason}")
    for note in notes:
        print_warning(note)
    for row in rows:
        if row["rows"] == row["quarantined"]:
            found = (
                f"none of its {row['rows']:,} rows could be used, all are in quarantine" if row["rows"] else "no rows"
            )
            print_warning(f"{row['file']}: {found}")


def _reasons(record: "ImportRecord") -> list[dict[str, Any]]:
    """Return the kinds of reasons of an import; of one from before they were recorded, those of its first rows."""
    from quantbot_pipeline.workflows.import_reasons import ReasonCounts

    if "reasons" in record.details:
        return list(record.details["reasons"])
    counts = ReasonCounts()
    counts.add(record.quarantined)
    return counts.largest()


def _print_table(rows: list[dict[str, Any]], totals: dict[str, int], kinds: Sequence[Mapping[str, Any]]) -> None:
    shown = rows
    if len(rows) > _FILES_SHOWN:
        left_out = len(rows) - _FILES_SHOWN + 1
        shown = [*rows[: _FILES_SHOWN - 1], dict.fromkeys(rows[0], "") | {"file": f"… {left_out} more"}]
    known = sum(row["known"] for row in rows)
    output.print(rows_table("Imported", [*shown, {"file": "total", **totals, "known": known}]))
    if known:
        print_line(f"{known:,} of {len(rows):,} files were imported before: nothing was done, these are their counts")
    for kind in kinds:
        print_line(f"quarantined {kind['rows']:,} rows: {kind['reason']}; such as {kind['example']}")
    if kinds:
        print_line("all refused rows: 'quantbot quarantine'")
