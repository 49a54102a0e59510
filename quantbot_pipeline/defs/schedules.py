"""Schedules: what runs every day and every week, in UTC, each after what it reads.

All are off until turned on in the UI.
"""

from collections.abc import Sequence

import dagster as dg

from quantbot_pipeline.defs.due_partitions import find_due, find_outdated, find_rescored, load_recorded
from quantbot_pipeline.defs.fetch_job import NO_SOURCE, fetch_candles_job
from quantbot_pipeline.defs.jobs import refresh_report_job, score_job, search_job, simulate_job, train_job
from quantbot_pipeline.defs.partitions import register_tokens, token_partitions
from quantbot_pipeline.defs.range_requests import range_requests
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.token_months import TokenMonth, parse_token

# Range runs of one night; what is left over is still due the next.
_MOST_REQUESTS = 50


@dg.schedule(
    job=fetch_candles_job,
    cron_schedule="15 0 * * *",
    execution_timezone="UTC",
    description="Missing candles of recent calls from QUANTBOT_CANDLE_SOURCE, every day at 00:15 UTC.",
)
def daily_candles(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.RunRequest | dg.SkipReason:
    """Request one run per day, where a source is configured."""
    if settings.candle_source is None:
        return dg.SkipReason(NO_SOURCE)
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m-%d}")


@dg.schedule(
    job=simulate_job,
    cron_schedule="0 1 * * *",
    execution_timezone="UTC",
    description="Token-months that are behind their candles, calls, scores, strategies or engine, every night at 01:00 "
    "UTC.",
)
def nightly_simulations(
    context: dg.ScheduleEvaluationContext,
    settings: dg.ResourceParam[Settings],
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
) -> Sequence[dg.RunRequest] | dg.SkipReason:
    """Request range runs over what is due; the same night's tick again makes the same requests."""
    rows = state_store.read("calls/load_token_months", import_ids=None).to_pylist()
    called = {TokenMonth.from_parts(row["chain"], row["address"], row["month"]) for row in rows}
    called = {key for key in called if key.month >= settings.first_month}
    outdated = find_outdated(state_store) | find_rescored(called, state_store, history_store)
    due = find_due(called, load_recorded(context.instance), outdated)
    if not due:
        return dg.SkipReason(f"all {len(called)} token-months with calls are up to date")
    register_tokens(context.instance, due)
    order = [parse_token(key) for key in context.instance.get_dynamic_partitions(str(token_partitions.name))]
    night = f"{context.scheduled_execution_time:%Y-%m-%d}"
    return range_requests(set(due), order, salt=night)[:_MOST_REQUESTS]


nightly_scores = dg.ScheduleDefinition(
    name="nightly_scores",
    job=score_job,
    cron_schedule="45 0 * * *",
    execution_timezone="UTC",
    description="Scores of new calls, every night at 00:45 UTC: after the candles, before the simulations that read "
    "them.",
)

nightly_report = dg.ScheduleDefinition(
    name="nightly_report",
    job=refresh_report_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Views and report, every night at 02:00 UTC.",
)

weekly_search = dg.ScheduleDefinition(
    name="weekly_search",
    job=search_job,
    cron_schedule="0 3 * * 0",
    execution_timezone="UTC",
    description="A search over strategy parameters, every Sunday at 03:00 UTC; the same search is not run twice.",
)

weekly_training = dg.ScheduleDefinition(
    name="weekly_training",
    job=train_job,
    cron_schedule="0 5 * * 0",
    execution_timezone="UTC",
    description="Features and a model, every Sunday at 05:00 UTC.",
)
