"""Jobs that sensors and schedules start, and the schedules."""

import dagster as dg

ingest_alerts_job = dg.define_asset_job(
    "ingest_alerts_job",
    selection=dg.AssetSelection.assets("alerts", "tokens", "callers", "calls"),
    description="Read alert files and derive calls.",
)

refresh_report_job = dg.define_asset_job(
    "refresh_report_job",
    selection=dg.AssetSelection.groups("views_postgres", "views_clickhouse", "report"),
    description="Apply the views and write the report.",
)

nightly_report = dg.ScheduleDefinition(
    name="nightly_report",
    job=refresh_report_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Views and report, every night at 02:00 UTC.",
)
