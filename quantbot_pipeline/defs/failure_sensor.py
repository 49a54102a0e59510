"""The sensor that tells people of failed runs: in the daemon's log, and to a webhook where one is configured."""

import logging
from datetime import UTC, datetime

import dagster as dg

from quantbot_pipeline.defs.range_requests import partitions_of_tags
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.sources.webhook import deliver
from quantbot_pipeline.workflows.failure_notices import FailedRun, build_failure_notice

TOLD_TAG = "quantbot/failure_told"
"""Set on a run once people were told of it, to `log`, `webhook` or `webhook failed`."""

_WILL_RETRY_TAG = "dagster/will_retry"

_LOG = logging.getLogger("quantbot.failures")


@dg.run_failure_sensor(
    name="run_failure_sensor",
    minimum_interval_seconds=30,
    description="Tells of failed runs: in the daemon's log, and to QUANTBOT_ALERT_WEBHOOK_URL where that is set.",
)
def run_failure_sensor(context: dg.RunFailureSensorContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
    """Tell of one failed run, once.

    Told is who does not run again by itself. A tick that died between telling and its end is repeated: the tag on the
    run says that it was told of, and where the tick died before that, the webhook gets the same idempotency key again.
    A webhook that does not take it is logged; nothing fails by it.
    """
    # As stored now: the tag may be newer than the event.
    run = context.instance.get_run_by_id(context.dagster_run.run_id) or context.dagster_run
    if TOLD_TAG in run.tags:
        return dg.SkipReason(f"run {run.run_id} was told of already")
    if run.tags.get(_WILL_RETRY_TAG) == "true":
        return dg.SkipReason(f"run {run.run_id} is tried again")
    notice = build_failure_notice(_failed_run(context, run), _secrets(settings))
    _LOG.error("%s", notice["text"])
    told = "log"
    if settings.alert_webhook_url is not None:
        reason = deliver(settings.alert_webhook_url, notice, idempotency_key=run.run_id)
        told = "webhook" if reason is None else "webhook failed"
        if reason is not None:
            _LOG.error("run %s could not be told of: %s", run.run_id, reason)
    context.instance.add_run_tags(run.run_id, {TOLD_TAG: told})
    return dg.SkipReason(f"told of run {run.run_id}: {told}")


def _failed_run(context: dg.RunFailureSensorContext, run: dg.DagsterRun) -> FailedRun:
    steps = []
    for event in context.get_step_failure_events():
        data = event.step_failure_data
        described = data.user_failure_data.description if data.user_failure_data else None
        error = data.error
        while error is not None and error.cause is not None and described is None:
            error = error.cause
        steps.append((event.step_key or "", described or (error.message if error else "unknown")))
    return FailedRun(
        run_id=run.run_id,
        job=run.job_name,
        partitions=partitions_of_tags(run.tags),
        steps=steps,
        error=context.failure_event.message or "",
        failed_at=datetime.now(UTC),
    )


def _secrets(settings: Settings) -> list[str]:
    urls = (settings.postgres_url, settings.clickhouse_url, settings.alert_webhook_url, settings.birdeye_api_key)
    return [secret.get_secret_value() for secret in urls if secret is not None]
