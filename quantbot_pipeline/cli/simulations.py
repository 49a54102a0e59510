"""`quantbot simulate`."""

import os
from pathlib import Path
from typing import Any

import typer

from quantbot_pipeline.cli import interrupts
from quantbot_pipeline.cli.console import (
    messages,
    output,
    print_json,
    print_rows,
    print_warning,
    progress_stages,
)
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.strategy_argument import read_strategy

_HELP = flowing(
    """Simulate strategies on candle and call files: no database, files in and files out.

Candles are parquet or CSV as for 'quantbot ingest candles', of one or more tokens; files of any size, rows in any
order. --chain and --token stand in for missing columns; a missing interval is told from the steps between the rows,
and --interval selects among the intervals that there are. Calls are CSV with call_id, token_address, chain,
signal_timestamp, and optionally side, signal_type, caller. A file with a bad row is refused whole, but for candles with
--skip-bad-rows.

Events have one row per event; the summary has all metrics per strategy, overall and per token. Neither depends on the
engine or the number of threads. Both files are written, or none.

Examples:
  quantbot simulate --candles bonk.parquet --calls calls.csv --strategy conservative-24h
  quantbot simulate --candles DIR --calls calls.csv --strategy mine.json --events-out events.parquet
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def simulate(
        candles: list[Path] = typer.Option(..., help="Candle file, or folder of them; repeatable."),
        calls: list[Path] = typer.Option(..., help="Call file; repeatable."),
        strategies: list[str] = typer.Option(
            ..., "--strategy", help="Strategy file, or name of a preset; repeatable.", metavar="FILE|NAME"
        ),
        chain: str | None = typer.Option(None, help="Chain or exchange of all candles, for files without the column."),
        token: str | None = typer.Option(None, help="Token address of all candles, for files without the column."),
        interval: str | None = typer.Option(
            None, help="Selects the interval to simulate; by default the finest one of each token."
        ),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        events_out: Path | None = typer.Option(None, help="Where events go: .parquet, .csv or .jsonl."),
        summary_out: Path | None = typer.Option(None, help="Where the summary goes: .json."),
        engine: str = typer.Option(
            "fast", help="The compiled engine, or the slow one that it must equal.", metavar="fast|reference"
        ),
        threads: int | None = typer.Option(None, help="Threads of the fast engine; by default one per core.", min=1),
        *,
        skip_bad_rows: bool = typer.Option(
            False, "--skip-bad-rows", help="Leave candle rows out that can't be used, and say which."
        ),
        as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
    ) -> None:
        from quantbot_pipeline.workflows.find_files import find_candle_files
        from quantbot_pipeline.workflows.simulate_files import FilesToSimulate, check_simulation, simulate_files

        chosen = [read_strategy(text, "--strategy") for text in strategies]
        files = FilesToSimulate(
            candles=find_candle_files(candles),
            calls=list(dict.fromkeys(calls)),
            events_out=events_out,
            summary_out=summary_out,
            interval=interval,
            timezone=timezone,
            chain=chain,
            token=token,
            are_bad_rows_skipped=skip_bad_rows,
            other_inputs=[Path(text) for text in strategies if Path(text).is_file()],
        )
        check_simulation(files, chosen)
        with interrupts.ended_by_kill(), progress_stages() as on_stage:
            summary = simulate_files(
                files,
                chosen,
                engine=engine,
                threads=threads or _usable_cores(),
                on_progress=lambda done, total, message: on_stage(message, done, total),
                tell=lambda message: messages.print(f"{message} …", markup=False, soft_wrap=True),
                warn=print_warning,
                on_written=lambda: interrupts.say_when_stopped(interrupts.FILES_WRITTEN),
            )
        _warn(summary, interval)
        if as_json:
            print_json(summary)
            return
        print_rows("Simulated", [_row(found) for found in summary["strategies"]])
        for path in (events_out, summary_out):
            if path is not None:
                output.print(f"wrote {path}", markup=False, soft_wrap=True)


def _usable_cores() -> int:
    # Not every system can tell which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _warn(summary: dict[str, Any], interval: str | None) -> None:
    """Say what a reader of the summary may not have expected."""
    others = summary["tokens_with_other_intervals"]
    without, tokens = summary["tokens_without_candles"] - others, summary["token_count"]
    if others:
        print_warning(
            f"{others:,} of {tokens:,} {_plural(tokens, 'token')} with calls {'has' if others == 1 else 'have'} no "
            f"candles of {interval}; there are {', '.join(summary['other_intervals'])}: the calls are skipped "
            "(entry_skipped, reason no_candles)"
        )
    if without:
        print_warning(
            f"{without:,} of {tokens:,} {_plural(tokens, 'token')} with calls {'has' if without == 1 else 'have'} no "
            "candles; the calls are skipped (entry_skipped, reason no_candles)"
        )
    repeated = summary["repeated_candle_rows"]
    if repeated:
        print_warning(
            f"{repeated:,} candle {_plural(repeated, 'row')} came again in the same file; the last of each was taken"
        )


def _plural(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"


def _row(found: dict[str, Any]) -> dict[str, Any]:
    overall = found["overall"]
    # Nothing was bought: a gain of 0 would be a result.
    is_traded = overall["trade_count"] > 0
    return {
        "strategy": found["strategy"],
        "trades": overall["trade_count"],
        "skipped": overall["skipped_count"],
        "mean pnl": _percent(overall["final_pnl"] if is_traded else None),
        "win rate": _share(overall["win_rate"]),
        "drawdown": _share(overall["max_drawdown"] if is_traded else None),
        "sharpe": "n/a" if overall["sharpe_ratio"] is None else f"{overall['sharpe_ratio']:.2f}",
    }


def _percent(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:+.1f} %"


def _share(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:.1f} %"
