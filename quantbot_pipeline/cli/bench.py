"""`quantbot bench engine`."""

import shlex
import sys
from pathlib import Path

import typer

from quantbot_pipeline.cli.console import (
    output,
    print_json,
    print_line,
    print_warning,
    progress_stages,
    rows_table,
    waiting,
)
from quantbot_pipeline.cli.help_text import flowing

_HELP = flowing(
    """Measure the engine, and others doing the same work in the same run.

A seeded market of one-minute candles, and with --candles real 5-minute ones: four strategies from a plain time exit
to a full ladder, a parameter search, the reference engine and loops in plain Python. With --peers also vectorbt and
backtesting.py, in an environment of their own that is made on first use (about a minute, 1 GB, network).

The quickest of several repetitions counts; engines that are compared take turns. A run on a busy machine says that it
is noisy.

Columns:
  steps/s   candles that trades went through each second, one thread
  on N cores, gain   the same on N threads, and how many times as fast
  candles/s   candles read each second, whether traded or not
  x ours    how many times as long as quantbot an engine took
  agrees    as many trades, and the same profit
  spread    how much longer the median repetition took than the best
  !         so much that the figure is not to be relied on

Terminals below 100 columns are shown fewer of them; --json has all.

Examples:
  quantbot bench engine --quick
  quantbot bench engine --peers --cold --memory --candles DIR --chain binance
"""
)


_WIDTH_OF_ALL_COLUMNS = 100


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Measure how fast it is here.", no_args_is_help=True)
    app.add_typer(group, name="bench")

    @group.callback()
    def _bench() -> None:
        """Measure how fast it is here."""

    @group.command(help=_HELP)
    def engine(
        tokens: int = typer.Option(200, min=1, max=5_000, help="Tokens of the seeded market."),
        candles_per_token: int = typer.Option(10_000, min=100, max=1_000_000, help="Candles of each."),
        calls: int = typer.Option(2_000, min=1, max=1_000_000, help="Calls on all of them."),
        sets: int = typer.Option(1_000, min=1, max=1_000_000, help="Parameter sets of the search."),
        repeats: int = typer.Option(15, min=1, max=1_000, help="Repetitions of what takes milliseconds."),
        candles: list[Path] = typer.Option([], help="Real candle file, or folder of them; repeatable."),
        chain: str | None = typer.Option(None, help="Take only real tokens of this chain or exchange."),
        peers_home: Path = typer.Option(
            Path("~/.cache"),
            envvar="XDG_CACHE_HOME",
            help="Cache folder that holds the peers' environment, in quantbot/peers-….",
        ),
        *,
        peers: bool = typer.Option(False, "--peers", help="Measure vectorbt and backtesting.py too."),
        cold: bool = typer.Option(False, "--cold", help="Measure compiling from nothing too (a minute)."),
        memory: bool = typer.Option(False, "--memory", help="Measure the memory of the search too."),
        quick: bool = typer.Option(False, "--quick", help="A small market and few repetitions: a first look."),
        as_json: bool = typer.Option(False, "--json", help="Print everything as JSON."),
        as_markdown: bool = typer.Option(False, "--markdown", help="Print the tables as markdown."),
    ) -> None:
        from quantbot_pipeline.bench.document import BenchPlan, measure
        from quantbot_pipeline.bench.peers import ensure_environment
        from quantbot_pipeline.bench.tables import markdown_of, summary_lines, tables_of
        from quantbot_pipeline.workflows.find_files import find_candle_files

        if quick:
            tokens, candles_per_token, calls = min(tokens, 10), min(candles_per_token, 2_000), min(calls, 40)
            sets, repeats = min(sets, 20), min(repeats, 3)
        files = find_candle_files(candles) if candles else []
        python = None
        if peers:
            with waiting("looking for the peers") as tell:
                python = ensure_environment(peers_home.expanduser(), tell)
        plan = BenchPlan(
            tokens=tokens,
            candles=candles_per_token,
            calls=calls,
            sets=sets,
            rounds=repeats,
            slow_rounds=1 if quick else min(repeats, 5),
            candle_files=files,
            chain=chain,
            peers_python=python,
            is_cold=cold,
            with_memory=memory,
        )
        with progress_stages() as on_stage:
            document = measure(plan, shlex.join(["quantbot", *sys.argv[1:]]), on_stage)
        if as_json:
            print_json(document)
            return
        if as_markdown:
            print_line(markdown_of(document).rstrip("\n"))
            return
        *lines, verdict = summary_lines(document)
        for line in lines:
            output.print(line, markup=False)
        for table in tables_of(document, is_narrow=output.width < _WIDTH_OF_ALL_COLUMNS):
            output.print(rows_table(table.title, table.rows))
        if document["noise"]:
            print_warning(verdict)
        else:
            print_line(verdict)
