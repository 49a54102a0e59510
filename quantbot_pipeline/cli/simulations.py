"""`quantbot simulate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import output, print_json, print_rows, progress_bar
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.strategy.model import Strategy

_HELP = flowing(
    """Simulate strategies on candle and call files: no database, files in and files out.

Candles are parquet or CSV as for 'quantbot ingest candles'. Calls are CSV with call_id, token_address, chain,
signal_timestamp, and optionally side, signal_type, caller. A file with a bad row is refused whole.

Events have one row per event; the summary has all metrics per strategy, overall and per token.

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
        interval: str | None = typer.Option(None, help="Interval to use; by default the finest one of each token."),
        timezone: str | None = typer.Option(None, help="IANA zone of timestamps without offset."),
        events_out: Path | None = typer.Option(None, help="Where events go: .parquet, .csv or .jsonl."),
        summary_out: Path | None = typer.Option(None, help="Where the summary goes: JSON."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
    ) -> None:
        from quantbot_pipeline.workflows.check_files import find_candle_files
        from quantbot_pipeline.workflows.simulate_files import (
            check_events_path,
            simulate_files,
            write_events,
            write_summary,
        )

        if events_out is not None:
            check_events_path(events_out)
        chosen = [_strategy(text) for text in strategies]
        with progress_bar("simulations") as listen:
            result = simulate_files(
                find_candle_files(candles),
                calls,
                chosen,
                interval=interval,
                timezone=timezone,
                on_progress=listen,
            )
        if events_out is not None:
            write_events(result.events, events_out)
        if summary_out is not None:
            write_summary(result.summary, summary_out)
        if as_json:
            print_json(result.summary)
            return
        print_rows("Simulated", [_row(found) for found in result.summary["strategies"]])
        for path in (events_out, summary_out):
            if path is not None:
                output.print(f"wrote {path}", markup=False, soft_wrap=True)


def _strategy(text: str) -> "Strategy":
    from quantbot_pipeline.errors import StrategyError
    from quantbot_pipeline.strategy.model import load_strategy
    from quantbot_pipeline.strategy.presets import load_preset, preset_names

    if text in preset_names():
        return load_preset(text)
    if not Path(text).exists():
        raise StrategyError(
            f"--strategy: {text!r} is neither a file nor a preset; presets are {', '.join(preset_names())}"
        )
    return load_strategy(Path(text))


def _row(found: dict[str, Any]) -> dict[str, Any]:
    overall = found["overall"]
    return {
        "strategy": found["strategy"],
        "trades": overall["trade_count"],
        "skipped": overall["skipped_count"],
        "mean pnl": _percent(overall["final_pnl"]),
        "win rate": _share(overall["win_rate"]),
        "drawdown": _share(overall["max_drawdown"]),
        "sharpe": "n/a" if overall["sharpe_ratio"] is None else f"{overall['sharpe_ratio']:.2f}",
    }


def _percent(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:+.1f} %"


def _share(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:.1f} %"
