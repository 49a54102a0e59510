"""`quantbot fetch candles`."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_warning, progress_bar, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import read_instant, read_seconds

if TYPE_CHECKING:
    from quantbot_pipeline.cli.stores import OpenStores
    from quantbot_pipeline.settings import Settings
    from quantbot_pipeline.sources.candle_pages import CandleSource
    from quantbot_pipeline.storage.protocols import StateStore
    from quantbot_pipeline.strategy.model import Strategy
    from quantbot_pipeline.workflows.fetch_candles import FetchPlan, FetchReport

_TOKENS_SHOWN = 20
_COUNTS = ("requested", "received", "stored", "duplicates", "quarantined", "left_out", "requests")

_HELP = flowing(
    """Get the candles that stored calls need: warm-up before each call, horizon after it.

Without --warm-up and --horizon, the stored strategies say how far; where none is stored, a day before and a day after.
Only what is missing is asked for: not what is stored, and not what the source was asked for before and did not have,
for there nothing was traded. Stopped in the middle, the next run goes on at the page that was not finished.

GeckoTerminal needs no key: 30 requests a minute, 1,000 candles each, of the token's most liquid pool. Birdeye reads
its key from QUANTBOT_BIRDEYE_API_KEY: candles over all pools. docs/sources.md says more.

What fails costs its token alone; the exit code is then 3, with one line for each. Rows that can't be used are kept in
the table 'quarantine'.

Examples:
  quantbot fetch candles --source geckoterminal --calls-since 2025-10-01 --dry-run
  quantbot fetch candles --source birdeye --calls-since 2025-10-01 --interval 1m --horizon 6h --json
"""
)


class SourceName(StrEnum):
    """Sources that can be asked."""

    GECKOTERMINAL = "geckoterminal"
    BIRDEYE = "birdeye"


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Get candles from HTTP sources.", no_args_is_help=True)
    app.add_typer(group, name="fetch")

    @group.command(help=_HELP)
    def candles(
        source_name: SourceName = typer.Option(..., "--source", help="Whom to ask."),
        calls_since: str = typer.Option(..., help="Calls from this date or time on, UTC.", metavar="DATE"),
        until: str | None = typer.Option(None, help="Calls before this date or time.", metavar="DATE"),
        token_texts: list[str] = typer.Option(
            [], "--tokens", help="Tokens; repeatable. All with calls without it.", metavar="CHAIN:ADDRESS"
        ),
        interval: str = typer.Option("5m", help="Interval of the candles."),
        warm_up: str | None = typer.Option(None, help="Time before each call, such as 12h or 2d.", metavar="TIME"),
        horizon: str | None = typer.Option(None, help="Time after each call, such as 24h.", metavar="TIME"),
        *,
        dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be asked for; send nothing."),
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import SourceError
        from quantbot_pipeline.sources.clock import Clock
        from quantbot_pipeline.storage.fetches import PostgresFetchLedger
        from quantbot_pipeline.workflows.fetch_candles import FetchReport, fetch_candles, plan_fetch
        from quantbot_pipeline.workflows.token_months import parse_token

        since = read_instant(calls_since, "--calls-since")
        before = None if until is None else read_instant(until, "--until")
        tokens = [parse_token(text) for text in token_texts] or None
        warm_up_seconds = None if warm_up is None else read_seconds(warm_up, "--warm-up")
        horizon_seconds = None if horizon is None else read_seconds(horizon, "--horizon")
        report = FetchReport()
        with open_stores() as stores, PostgresFetchLedger(stores.urls.postgres) as ledger:
            source = _open_source(source_name, stores.settings, is_asked=not dry_run)
            try:
                with waiting("looking for what is missing"):
                    plan = plan_fetch(
                        source,
                        stores.state,
                        stores.history,
                        ledger,
                        since=since,
                        until=before,
                        now=Clock().epoch_seconds(),
                        tokens=tokens,
                        interval=interval,
                        warm_up_seconds=warm_up_seconds,
                        horizon_seconds=horizon_seconds,
                        strategies=_strategies(stores.state),
                    )
                _refuse_early(plan, stores.settings)
                if not dry_run:
                    with progress_bar("candles asked for") as listen:
                        fetch_candles(
                            plan, source, stores.state, stores.history, ledger, report=report, on_progress=listen
                        )
            finally:
                source.close()
                # Also what was stored before Ctrl-C: it is not asked for again, and so would not be told later.
                _record(report, stores)
        if dry_run:
            _print_plan(plan, as_json=as_json)
            return
        _print_report(plan, report, as_json=as_json)
        if report.failed:
            lines = [f"{row.token.chain}:{row.token.address}: {row.reason}" for row in report.failed]
            raise SourceError("\n".join([f"{len(lines)} of {len(plan.tokens)} tokens failed:", *lines]))


def _record(report: "FetchReport", stores: "OpenStores") -> None:
    if all(outcome.is_known for outcome in report.imports):
        return
    from quantbot_pipeline.workflows.derive_calls import derive_calls

    with waiting("deriving calls") as tell:
        # Candles can tell the chain of a token that alerts named by its address alone.
        derive_calls(stores.state, stores.history)
        tell("recording it in Dagster")
        from quantbot_pipeline.defs.recording import record_candle_imports

        record_candle_imports(report.imports, stores.history, stores.settings)


def _open_source(name: SourceName, settings: "Settings", *, is_asked: bool) -> "CandleSource":
    from quantbot_pipeline.sources.configured import open_source

    return open_source(
        name.value,
        geckoterminal_url=settings.geckoterminal_url,
        birdeye_url=settings.birdeye_url,
        birdeye_api_key=settings.birdeye_api_key,
        birdeye_requests_per_second=settings.birdeye_requests_per_second,
        is_asked=is_asked,
    )


def _strategies(state: "StateStore") -> "list[Strategy]":
    from quantbot_pipeline.strategy.model import parse_strategy

    return [parse_strategy(row.config) for row in state.load_strategies()]


def _refuse_early(plan: "FetchPlan", settings: "Settings") -> None:
    """Refuse, before anything is asked, candles of months that have no partition."""
    from datetime import UTC, datetime

    from quantbot_pipeline.errors import ConfigError
    from quantbot_pipeline.workflows.token_months import month_of

    starts = [start for token in plan.tokens for start, _ in token.missing]
    if not starts:
        return
    month = month_of(datetime.fromtimestamp(min(starts), UTC))
    if month < settings.first_month:
        raise ConfigError(
            f"calls need candles of {month}, before the first partition {settings.first_month}: set "
            f"QUANTBOT_FIRST_MONTH={month}, or ask for later calls with --calls-since"
        )


def _print_plan(plan: "FetchPlan", *, as_json: bool) -> None:
    from datetime import UTC, datetime

    def shown(ranges: Sequence[tuple[int, int]]) -> list[list[str]]:
        return [[f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}" for moment in window] for window in ranges]

    rows: list[dict[str, Any]] = [
        {
            "token": f"{row.token.chain}:{row.token.address}",
            "calls": row.call_count,
            "candles": plan.candle_count(row.windows),
            "missing": plan.candle_count(row.missing),
            "served": row.is_served,
        }
        for row in plan.tokens
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("calls", "candles", "missing")}
    if as_json:
        tokens = [
            {**row, "windows": shown(token.windows), "missing_ranges": shown(token.missing)}
            for row, token in zip(rows, plan.tokens, strict=True)
        ]
        print_json({**_settings_of(plan), "dry_run": True, "tokens": tokens, "totals": totals})
    else:
        lines = [
            {name: value for name, value in row.items() if name != "served"}
            | {"status": "" if row["served"] else "not served"}
            for row in rows
        ]
        _print_lines(f"{plan.source} would be asked for {plan.interval} candles", lines, totals)
    _warn_of_nothing(plan)


def _settings_of(plan: "FetchPlan") -> dict[str, Any]:
    return {
        "source": plan.source,
        "interval": plan.interval,
        "warm_up_seconds": plan.warm_up_seconds,
        "horizon_seconds": plan.horizon_seconds,
    }


def _print_report(plan: "FetchPlan", report: "FetchReport", *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "token": f"{row.token.chain}:{row.token.address}",
            "status": row.status,
            **{name: getattr(row, name) for name in _COUNTS},
        }
        for row in report.tokens
    ]
    totals = {name: sum(row[name] for row in rows) for name in _COUNTS}
    reasons = [
        f"{row.file}:{row.line}: {row.reason}" for outcome in report.imports for row in outcome.record.quarantined
    ]
    if as_json:
        tokens = [
            {**row, "reason": outcome.reason, "note": outcome.note}
            for row, outcome in zip(rows, report.tokens, strict=True)
        ]
        print_json({**_settings_of(plan), "dry_run": False, "tokens": tokens, "totals": totals, "quarantined": reasons})
    else:
        _print_lines(f"Fetched {plan.interval} candles from {plan.source}", rows, totals)
        if reasons:
            print_line(f"quarantined {reasons[0]}")
        if len(reasons) > 1:
            print_line(f"… and {len(reasons) - 1:,} more; all are in the table 'quarantine'")
    for outcome in report.tokens:
        if outcome.note:
            print_warning(f"{outcome.token.chain}:{outcome.token.address}: {outcome.note}")
    _warn_of_nothing(plan)


def _print_lines(title: str, rows: list[dict[str, Any]], totals: dict[str, int]) -> None:
    """Print a line per token: a table of whole addresses and all counts fits no terminal."""
    print_line(title)
    for row in rows[:_TOKENS_SHOWN]:
        counts = {name: value for name, value in row.items() if name in totals}
        words = [str(value) for name, value in row.items() if name not in totals and name != "token" and value]
        print_line(f"{row['token']}: {', '.join([*words, *_counted(counts)])}")
    if len(rows) > _TOKENS_SHOWN:
        print_line(f"… {len(rows) - _TOKENS_SHOWN:,} more")
    print_line(f"total: {', '.join([f'{len(rows):,} tokens', *_counted(totals)])}")


def _counted(counts: dict[str, int]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items()]


def _warn_of_nothing(plan: "FetchPlan") -> None:
    if not plan.tokens:
        print_warning("no call is stored of what was asked for: 'quantbot ingest alerts' stores calls")
    not_served = sorted({token.token.chain for token in plan.tokens if not token.is_served})
    if not_served:
        count = sum(not token.is_served for token in plan.tokens)
        print_warning(f"{plan.source} does not know {', '.join(not_served)}: {count:,} tokens were left out")
