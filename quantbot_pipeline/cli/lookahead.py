"""`quantbot check-lookahead`."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from quantbot_pipeline.cli.console import messages, output, print_json, print_line, progress_bar, rows_table
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.strategy_argument import read_strategy

_HELP = flowing(
    """Check that a strategy does not know the future, and how much history it needs.

Takes candles away after a call, an event or any other candle, or replaces them by noise, and computes everything again:
each indicator, each condition and each event must stay as it was. Then takes candles away before calls, and tells how
many of them each value needs.

Without --calls, calls are spread evenly over the candles; without --candles, candles are made up. --chain and --token
stand in for missing columns; a missing interval is told from the steps between the rows, and --interval selects among
the intervals that there are.

Exit code 0 is a clean strategy; 1 says that something looks ahead, depends on more history than it declares, is never
known, or that there was nothing to compare.

Examples:
  quantbot check-lookahead mine.json --candles bonk.parquet --calls calls.csv
  quantbot check-lookahead conservative-24h
"""
)


class EngineName(StrEnum):
    """What `--engine` may be."""

    FAST = "fast"
    REFERENCE = "reference"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("check-lookahead", help=_HELP)
    def check_lookahead_command(
        strategy: str = typer.Argument(..., help="Strategy file, or name of a preset.", metavar="STRATEGY"),
        candles: list[Path] = typer.Option([], help="Candle file, or folder of them; repeatable."),
        calls: list[Path] = typer.Option([], help="Call file; repeatable."),
        chain: str | None = typer.Option(None, help="Chain or exchange of all candles, for files without the column."),
        token: str | None = typer.Option(None, help="Token address of all candles, for files without the column."),
        interval: str | None = typer.Option(
            None, help="Selects the interval to check on; by default the finest one of each token."
        ),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        cuts: int = typer.Option(200, min=1, help="Places to cut at, over all tokens; at least one each."),
        seed: int = typer.Option(0, min=0, help="Chooses places and noise; the same seed checks the same."),
        engine: EngineName = typer.Option(EngineName.FAST, help="Engine to check."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print everything as JSON."),
    ) -> None:
        from quantbot_pipeline.ingest.candles.options import CandleReadOptions
        from quantbot_pipeline.workflows.check_lookahead import check_lookahead, read_checked_data
        from quantbot_pipeline.workflows.describe_lookahead import check_document
        from quantbot_pipeline.workflows.find_files import find_candle_files
        from quantbot_pipeline.workflows.prepare_engine import prepare_engine

        checked = read_strategy(strategy, "STRATEGY")
        data = read_checked_data(
            find_candle_files(candles) if candles else (),
            calls,
            interval=interval,
            options=CandleReadOptions(chain=chain, token=token, timezone=timezone),
            seed=seed,
            strategies=[checked],
        )
        if engine is EngineName.FAST:
            prepare_engine(lambda message: messages.print(f"{message} …", markup=False, soft_wrap=True))
        with progress_bar("cuts and calls") as listen:
            found = check_lookahead(checked, data, cuts=cuts, seed=seed, engine=engine.value, on_progress=listen)
        document = check_document(found)
        if as_json:
            print_json(document)
        else:
            _print(document)
        if not document["is_clean"]:
            raise typer.Exit(1)


def _print(document: dict[str, Any]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    data = document["data"]
    output.print(Text(f"Strategy {document['strategy']}: {_data_text(data)}"))
    if calls_text := _calls_text(data):
        output.print(Text(calls_text))
    output.print(
        Text(
            f"{document['cuts']:,} cuts, {document['compared']:,} values and events compared, "
            f"{document['engine']} engine, seed {document['seed']}"
        )
    )
    if document["indicators"]:
        _print_table(
            "Indicators, and the candles they need before a call",
            [_indicator_row(found, data) for found in document["indicators"]],
        )
        _print_table("Conditions", [_condition_row(found) for found in document["conditions"]])
    else:
        print_line("It names no condition, so no indicator either.")
    tried = f"{document['calls_with_shortened_history']:,} of {data['measured_calls']:,} entries, evenly chosen"
    _print_table(f"With less history before each call ({tried})", _history_rows(document))
    _print_events(document)
    for paragraph in document["what_to_do"]:
        first, *details = paragraph.split("\n")
        output.print(Text(f"- {first}"))
        for detail in details:
            output.print(Padding(Text(detail), (0, 0, 0, 4)))
    style = "bold green" if document["verdict"] == "clean" else "bold yellow" if document["is_clean"] else "bold red"
    output.print(Text(f"Verdict: {document['verdict']}", style=style))


def _print_table(title: str, rows: list[dict[str, Any]]) -> None:
    from rich import box

    # Lines between columns would take the room that names and verdicts need.
    table = rows_table(title, rows)
    table.box = box.SIMPLE_HEAD
    table.pad_edge = False
    output.print(table)


def _data_text(data: dict[str, Any]) -> str:
    tokens = len(data["tokens"])
    parts = [
        f"{tokens} token{'' if tokens == 1 else 's'}",
        f"{data['candles']:,} candles" + (" (made up)" if data["candles_are_made_up"] else ""),
        f"{data['calls']:,} call{'' if data['calls'] == 1 else 's'}",
    ]
    if data["calls_are_made_up"]:
        parts[2] += " (made up, spread evenly over the candles)"
    return ", ".join(parts)


def _calls_text(data: dict[str, Any]) -> str:
    """Return which calls the tables count; empty where they are all."""
    found = {
        "exits and scale calls": data["checked_calls"] - data["entry_calls"],
        "on tokens without candles": data["calls_on_other_tokens"],
        "entries without candles after them": data["calls_without_candles_after_them"],
        "left out evenly, to check no more than are needed": (
            data["calls"] - data["calls_on_other_tokens"] - data["checked_calls"]
        ),
    }
    others = [f"{count:,} {what}" for what, count in found.items() if count]
    if not others:
        return ""
    return f"Tables count {data['measured_calls']:,} entries. The other calls: {', '.join(others)}."


def _indicator_row(found: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    from quantbot_pipeline.workflows.describe_lookahead import candles_text

    needs = candles_text(found["needs"], data["interval_seconds"])
    return {
        # Spaces let a long name break between its parameters.
        "indicator": found["indicator"].replace(",", ", "),
        "causal": found["causal"],
        "needs": needs if found["needs_is_measured"] else f"{needs} (declared)",
        "have it": f"{found['calls'] - found['calls_with_less']} of {found['calls']}",
        "warm-up": found["warm_up"],
    }


def _condition_row(found: dict[str, Any]) -> dict[str, Any]:
    share = "-" if not found["closes"] else f"{100 * found['true_closes'] / found['closes']:.1f} %"
    return {
        "where": found["path"],
        "condition": found["condition"].replace(",", ", ").replace(",  ", ", "),
        "causal": found["causal"],
        "true": share,
        "warm-up": found["warm_up"],
    }


def _history_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    from quantbot_pipeline.workflows.describe_lookahead import candles_text

    declared = document["declared_warm_up"]
    rows = []
    for trial in document["history"]:
        candles = trial["candles_before_call"]
        text = "none" if candles == 0 else candles_text(candles, document["data"]["interval_seconds"])
        changed = max(trial["changed_closes"].values(), default=None)
        rows.append(
            {
                "candles left": f"{text} (declared)" if candles == declared else text,
                "calls tried": f"{trial['calls']:,} of {document['calls_with_shortened_history']:,}",
                "trades that change": f"{trial['changed_trades']:,}" if trial["calls"] else "-",
                "worst condition": "-"
                if changed is None or not trial["calls"]
                else f"{changed:,} of {trial['closes']:,} closes",
            }
        )
    return rows


def _print_events(document: dict[str, Any]) -> None:
    from rich.text import Text

    events = document["events"]
    if events["causal"] == "yes":
        text = Text(f"Events: causal ({events['compared']:,} compared)")
        if any(found["causal"] != "yes" for found in (*document["indicators"], *document["conditions"])):
            text = Text(
                f"Events: no difference seen ({events['compared']:,} compared), but they rest on what looks ahead"
            )
    elif events["causal"] == "not shown":
        text = Text("Events: not shown (none is decided before a cut)")
    else:
        text = Text(f"Events: LOOKS AHEAD at {events['differing_cuts']:,} cuts", style="bold red")
    output.print(text)
