"""Jobs that take files out of the inbox or wherever they are.

No jobs of assets: which tokens and months a file touches is known once it is read, and a run of an asset needs its
partitions before that. They record what they touched.
"""

import dagster as dg

from quantbot_pipeline.defs.alert_assets import (
    AlertFilesConfig,
    alert_materializations,
    changed_months,
    derive_stored_calls,
    take_alerts,
)
from quantbot_pipeline.defs.ingest_assets import log_token_months, take_candles, taken_token_months
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


class InboxFilesConfig(dg.Config):
    """Names of complete files in the inbox; without any, its files are looked at twice first."""

    inbox_files: list[str] = []  # noqa: RUF012 - Dagster's Config is a pydantic model, which copies it


@dg.op(description="Reads alert files, derives calls, and records the months that changed.")
def take_alert_files(
    context: dg.OpExecutionContext,
    config: AlertFilesConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Import alert files; calls are derived in the same step, so that no run leaves alerts without them."""
    take_alerts(context, config, state_store, settings)
    context.log.info("calls: %s", derive_stored_calls(state_store, history_store, settings))
    for materialization in alert_materializations(context.instance, state_store, settings):
        context.log_event(materialization)


@dg.job(description="Read alert files and derive calls.")
def ingest_alerts_job() -> None:
    """Take alert files; a file that can't be read fails no check of good data, for no check is part of it."""
    take_alert_files()


@dg.op(
    description="Takes complete candle files out of the inbox, makes their tokens partitions, derives calls anew.",
)
def take_candle_files(
    context: dg.OpExecutionContext,
    config: InboxFilesConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Import candle files and record the token-months that they touch."""
    keys = taken_token_months(take_candles(context, config.inbox_files, state_store, history_store, settings))
    if not keys:
        return
    log_token_months(context, keys, history_store)
    # New candles tell the chain of an address that alerts left open.
    context.log.info("calls: %s", derive_stored_calls(state_store, history_store, settings))
    for materialization in changed_months(context.instance, "calls", state_store, settings):
        context.log_event(materialization)


@dg.job(description="Take candle files out of the inbox: new tokens become partitions.")
def candle_inbox_job() -> None:
    """Take candle files."""
    take_candle_files()
