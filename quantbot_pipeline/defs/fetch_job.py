"""The job that fetches missing candles from the configured source."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from quantbot_pipeline.defs.alert_assets import changed_months, derive_stored_calls
from quantbot_pipeline.defs.ingest_assets import log_token_months, touched_token_months
from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.sources.clock import Clock
from quantbot_pipeline.sources.configured import open_source
from quantbot_pipeline.storage.fetches import PostgresFetchLedger
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.strategy.model import parse_strategy
from quantbot_pipeline.workflows.fetch_candles import FetchReport, fetch_candles, plan_fetch
from quantbot_pipeline.workflows.token_months import TokenMonth, format_token, month_start

NO_SOURCE = (
    "no source of candles is configured: set QUANTBOT_CANDLE_SOURCE to geckoterminal or birdeye "
    "(docs/sources.md says what each has)"
)

_FAILURES_SHOWN = 20


class FetchConfig(dg.Config):
    """How many days back calls are looked at; as configured when 0."""

    days: int = 0


@dg.op(
    description="Asks the configured source for the candles that stored calls need and that are missing.",
    # Sources limit requests per key and per address: two at once would only be refused more.
    pool="candle_source",
)
def fetch_missing_candles(
    context: dg.OpExecutionContext,
    config: FetchConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Fetch what is missing and record the token-months that got candles; what fails costs its token alone.

    Each page is stored under the lock that imports hold. What was stored is recorded also where a token failed.
    """
    if settings.candle_source is None:
        raise dg.Failure(NO_SOURCE, allow_retries=False)
    since = datetime.now(UTC) - timedelta(days=config.days or settings.candle_source_days)
    source = open_source(
        settings.candle_source,
        geckoterminal_url=settings.geckoterminal_url,
        birdeye_url=settings.birdeye_url,
        birdeye_api_key=settings.birdeye_api_key,
        birdeye_requests_per_second=settings.birdeye_requests_per_second,
    )
    report = FetchReport()
    try:
        with PostgresFetchLedger(ensure_servers(settings).postgres) as ledger:
            plan = plan_fetch(
                source,
                state_store,
                history_store,
                ledger,
                # Calls before the first month that has partitions are none of this graph's.
                since=max(since, month_start(settings.first_month)),
                now=Clock().epoch_seconds(),
                interval=settings.candle_source_interval,
                strategies=[parse_strategy(row.config) for row in state_store.load_strategies()],
            )
            fetch_candles(plan, source, state_store, history_store, ledger, report=report)
    finally:
        source.close()
        new = touched_token_months([outcome for outcome in report.imports if not outcome.is_known])
        _record(context, new, state_store, history_store, settings)
    context.log.info(
        "%d tokens, %d candles stored, %d tokens failed",
        len(report.tokens),
        sum(token.stored for token in report.tokens),
        len(report.failed),
    )
    if report.failed:
        raise dg.Failure(_failure_text(report), allow_retries=False)


def _record(
    context: dg.OpExecutionContext,
    keys: set[TokenMonth],
    state: StateStore,
    history: HistoryStore,
    settings: Settings,
) -> None:
    # Warm-up may reach before the first partition.
    keys = {key for key in keys if key.month >= settings.first_month}
    if not keys:
        return
    log_token_months(context, keys, history)
    # New candles tell the chain of an address that alerts left open.
    context.log.info("calls: %s", derive_stored_calls(state, history, settings))
    for materialization in changed_months(context.instance, "calls", state, settings):
        context.log_event(materialization)


def _failure_text(report: FetchReport) -> str:
    lines = [f"{format_token(row.token)}: {row.reason}" for row in report.failed[:_FAILURES_SHOWN]]
    if len(report.failed) > _FAILURES_SHOWN:
        lines.append(f"and {len(report.failed) - _FAILURES_SHOWN} more")
    return "\n".join([f"{len(report.failed)} of {len(report.tokens)} tokens failed, the others are stored:", *lines])


@dg.job(description="Fetch the candles that stored calls need and that are missing.")
def fetch_candles_job() -> None:
    """Fetch missing candles."""
    fetch_missing_candles()
