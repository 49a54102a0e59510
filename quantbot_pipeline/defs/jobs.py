"""Jobs that sensors and schedules start, and the schedules."""

import dagster as dg

from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS

simulate_job = dg.define_asset_job(
    "simulate_job",
    selection=dg.AssetSelection.assets(*SIMULATION_ASSETS),
    description="Simulate token-months.",
)

refresh_report_job = dg.define_asset_job(
    "refresh_report_job",
    selection=dg.AssetSelection.groups("views_postgres", "views_clickhouse", "report")
    | dg.AssetSelection.checks_for_assets(dg.AssetKey("alerts"), dg.AssetKey("calls")),
    description="Apply the views, write the report, and check that the counts of alerts and calls add up.",
)

nightly_report = dg.ScheduleDefinition(
    name="nightly_report",
    job=refresh_report_job,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Views and report, every night at 02:00 UTC.",
)
