"""`quantbot candles`: coarser candles from stored ones, and what is wrong with those that are stored."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import output, print_json, print_line, print_rows, print_warning, progress_bar
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import finite

if TYPE_CHECKING:
    from rich.table import Table

    from quantbot_pipeline.ingest.tokens import TokenKey
    from quantbot_pipeline.workflows.candle_quality import MonthQuality, QualityReport

_RESAMPLE_HELP = flowing(
    """Make coarser candles from stored ones, exact to the source.

Open is the first source candle's, high and low are the extremes, close is the last one's, volume is the sum. Where no
source candle is, none is made. Imported candles are never replaced. The bucket that the data ends in is made once it is
over. The same again changes nothing; after new candles, run it again.

Examples:
  quantbot candles resample --from 1m --to 5m,15m,1h
  quantbot candles resample --from 5m --to 1d --tokens binance:BONK_USDT --months 2025-03 --json
"""
)

_QUALITY_HELP = flowing(
    """Say what is wrong with stored candles, by token, month and interval, worst first.

A month is 'sparse' when few of its candles are there, 'stale' when its price stands still or its candles end early,
has 'gaps' when some are missing, and is 'good' otherwise; the options say from where on. What counts is what lies
between the first and the last candle of a token. Nothing is changed, and simulations use what there is.

Examples:
  quantbot candles quality
  quantbot candles quality --tokens solana:DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263 --months 2025-03
  quantbot candles quality --interval 5m --gaps-below 0.95 --json
"""
)

_WHICH_TOKENS = "Tokens, with commas between or repeated. All without it."
_WHICH_MONTHS = "Months, with commas between or repeated. All without it."
_TOKEN_WIDTH = 24


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Stored candles: coarser ones from finer ones, and their quality.", no_args_is_help=True)
    app.add_typer(group, name="candles")

    @group.command(help=_RESAMPLE_HELP)
    def resample(
        source: str = typer.Option(..., "--from", help="Interval to read, such as 1m.", metavar="INTERVAL"),
        targets: str = typer.Option(..., "--to", help="Intervals to make, such as 5m,15m,1h.", metavar="INTERVALS"),
        tokens: list[str] = typer.Option([], "--tokens", help=_WHICH_TOKENS, metavar="CHAIN:ADDRESS"),
        months: list[str] = typer.Option([], "--months", help=_WHICH_MONTHS, metavar="YYYY-MM"),
        *,
        include_open: bool = typer.Option(False, "--include-open", help="Make the bucket that the data ends in, too."),
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.clickhouse_resampling import check_intervals
        from quantbot_pipeline.workflows.resample_candles import resample_candles

        wanted_tokens, wanted_months = _tokens(tokens), _months(months)
        intervals = _parts([targets])
        for interval in intervals:
            check_intervals(source, interval)
        with open_stores() as stores, progress_bar("resampling") as listen:
            done = resample_candles(
                stores.history,
                source=source,
                targets=intervals,
                tokens=wanted_tokens,
                months=wanted_months,
                include_open=include_open,
                on_progress=listen,
            )
        rows = [
            {
                "interval": one.interval,
                "candles_inserted": one.candles_inserted,
                "open_buckets_left_out": 0 if include_open else one.open_buckets,
            }
            for one in done.intervals
        ]
        if as_json:
            counts = {"source": done.source, "token_months": len(done.token_months), "source_rows": done.source_rows}
            print_json({**counts, "intervals": rows})
        else:
            print_rows(f"Made from {done.source} candles of {len(done.token_months):,} token-months", rows)
        if not done.token_months:
            print_warning(
                f"no {source} candles are stored of what was asked for: 'quantbot ingest candles' stores them"
            )

    @group.command(help=_QUALITY_HELP)
    def quality(
        tokens: list[str] = typer.Option([], "--tokens", help=_WHICH_TOKENS, metavar="CHAIN:ADDRESS"),
        months: list[str] = typer.Option([], "--months", help=_WHICH_MONTHS, metavar="YYYY-MM"),
        interval: str | None = typer.Option(None, help="Only this interval."),
        as_of: datetime | None = typer.Option(
            None, help="Until when candles could be there, UTC. Without it, the chain's newest candle.", metavar="TIME"
        ),
        gaps_below: float = typer.Option(
            0.99, min=0, max=1, callback=finite, help="Coverage below which a month has gaps."
        ),
        sparse_below: float = typer.Option(
            0.5, min=0, max=1, callback=finite, help="Coverage below which it is sparse."
        ),
        long_gap_hours: float = typer.Option(
            6.0, min=0.01, max=87_600, callback=finite, help="A gap this long counts whatever the coverage."
        ),
        stale_hours: float = typer.Option(
            24.0, min=0.01, max=87_600, callback=finite, help="An unchanged price or silence this long is stale."
        ),
        wick_limit: float = typer.Option(
            0.0, min=0, callback=finite, help="Count wicks above so many median ranges; 0 counts none."
        ),
        limit: int = typer.Option(40, min=0, help="Rows to show, 0 for all. JSON has all."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the whole report as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.ingest.candle_quality import QualityThresholds
        from quantbot_pipeline.workflows.candle_quality import quality_document, report_candle_quality

        wanted_tokens, wanted_months = _tokens(tokens), _months(months)
        thresholds = QualityThresholds(
            gaps_below_coverage=gaps_below,
            sparse_below_coverage=sparse_below,
            long_gap_seconds=round(long_gap_hours * 3600),
            stale_seconds=round(stale_hours * 3600),
        )
        with open_stores() as stores:
            report = report_candle_quality(
                stores.state,
                stores.history,
                tokens=wanted_tokens,
                months=wanted_months,
                interval=interval,
                thresholds=thresholds,
                as_of=as_of.replace(tzinfo=UTC) if as_of else None,
                wick_limit=wick_limit,
            )
        if as_json:
            print_json(quality_document(report))
        else:
            _show(report, limit)
        if not report.months:
            print_warning("no candles are stored of what was asked for: 'quantbot ingest candles' stores them")


def _show(report: "QualityReport", limit: int) -> None:
    shown = report.months[: limit or None]
    if shown:
        output.print(quality_table(shown))
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in report.count_verdicts().items() if count)
    if counts:
        left = len(report.months) - len(shown)
        more = f"; {left:,} better ones are not shown, --limit 0 shows them" if left else ""
        print_line(f"{len(report.months):,} months of candles: {counts}{more}")
    imports = [
        {
            "token": _short(token),
            "files": counts.files,
            "duplicates": counts.duplicates,
            "conflicts": counts.conflicts,
            "quarantined": counts.quarantined,
        }
        for token, counts in sorted(report.token_imports.items())
        if counts.duplicates or counts.quarantined
    ]
    if imports:
        print_rows("Rows of imported files that became no candle", imports[: limit or None])
    others = report.other_imports
    if others.duplicates or others.quarantined:
        print_line(
            f"{others.files:,} files of several tokens, or of none: {others.duplicates:,} duplicates "
            f"({others.conflicts:,} with other values), {others.quarantined:,} quarantined"
        )


def quality_table(months: "Iterable[MonthQuality]") -> "Table":
    """Return judged months as a table of at most 100 columns; long addresses are shortened in their middle."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title="Candle quality",
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("verdict", "token", "month", "every"):
        table.add_column(name, overflow="fold")
    for name in ("found", "gaps", "longest", "flat", "silent", "no vol", "wicks"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("from", overflow="fold")
    for month in months:
        quality, measures = month.quality, month.quality.measures
        cells = (
            quality.verdict.value,
            _short(month.key.token),
            month.key.month,
            month.interval,
            _share(quality.coverage),
            f"{measures.gap_count:,}",
            _length(quality.longest_gap_seconds),
            _length(measures.flat_run_seconds) if measures.flat_run_candles > 1 else "-",
            _length(measures.silent_seconds),
            _share(quality.zero_volume_share) if measures.candle_count else "-",
            f"{measures.distorted_count + measures.long_wick_count:,}",
            {"imported": "import", "resampled": "resamp"}.get(quality.source, quality.source),
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _short(token: "TokenKey") -> str:
    room = max(_TOKEN_WIDTH - len(token.chain) - 1, 9)
    address = token.address
    if len(address) > room:
        head = (room - 1) // 2
        address = f"{address[:head]}…{address[head + 1 - room :]}"
    return f"{token.chain}:{address}"


def _share(fraction: float) -> str:
    """Return a percentage; what is not whole is never shown as 0 % or 100 %."""
    if fraction in {0.0, 1.0}:
        return f"{fraction:.0%}"
    return f"{min(max(fraction, 0.001), 0.999):.1%}"


def _length(seconds: int) -> str:
    if not seconds:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f}{unit}".replace(".0", "")
    return f"{seconds}s"


def _parts(texts: list[str]) -> list[str]:
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def _tokens(texts: list[str]) -> "set[TokenKey]":
    from quantbot_pipeline.workflows.token_months import parse_token

    return {parse_token(text) for text in _parts(texts)}


def _months(texts: list[str]) -> set[str]:
    from quantbot_pipeline.workflows.token_months import month_start

    return {f"{month_start(text):%Y-%m}" for text in _parts(texts)}
