"""What Dagster loads: `defs`, and the function that builds it with other resources."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from quantbot_pipeline.defs.alert_assets import build_alert_assets
from quantbot_pipeline.defs.automation import build_automation_sensor
from quantbot_pipeline.defs.backfills import backfill_job
from quantbot_pipeline.defs.checks import (
    alert_counts_add_up,
    build_candle_quality_check,
    candles_cover_calls,
    every_alert_has_its_call,
)
from quantbot_pipeline.defs.failure_sensor import run_failure_sensor
from quantbot_pipeline.defs.fetch_job import fetch_candles_job
from quantbot_pipeline.defs.file_jobs import candle_inbox_job, ingest_alerts_job
from quantbot_pipeline.defs.freshness import with_freshness
from quantbot_pipeline.defs.ingest_assets import build_candle_asset, strategies
from quantbot_pipeline.defs.jobs import refresh_report_job, score_job, search_job, simulate_job, train_job
from quantbot_pipeline.defs.learning_assets import calls_have_not_drifted, ml_features, ml_models, ml_scores
from quantbot_pipeline.defs.resources import ClickHouseResource, PostgresResource
from quantbot_pipeline.defs.rule_checks import build_rule_checks
from quantbot_pipeline.defs.schedules import (
    daily_candles,
    nightly_report,
    nightly_scores,
    nightly_simulations,
    weekly_search,
    weekly_training,
)
from quantbot_pipeline.defs.search_assets import optimize
from quantbot_pipeline.defs.sensors import alert_inbox_sensor, candle_inbox_sensor, new_imports_sensor
from quantbot_pipeline.defs.simulation_assets import build_simulation_assets
from quantbot_pipeline.defs.view_assets import build_agreement_checks, build_report_asset, build_view_assets
from quantbot_pipeline.settings import Settings, load_settings


def build_definitions(resources: Mapping[str, Any] | None = None, settings: Settings | None = None) -> dg.Definitions:
    """Return the whole graph.

    Args:
        resources: Replacements for `state_store` and `history_store`, for tests.
        settings: Settings of this process; read from the environment by default.
    """
    settings = settings or load_settings()
    with warnings.catch_warnings():
        # Dagster calls backfill policies "beta"; range runs need them, and the versions are pinned.
        warnings.simplefilter("ignore", dg.BetaWarning)
        # And checks by partition "in preview"; the check is a warning, nothing rests on it.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        partitioned = [
            *build_alert_assets(settings),
            build_candle_asset(settings),
            build_simulation_assets(settings),
        ]
        candle_quality = build_candle_quality_check(settings)
    return dg.Definitions(
        assets=dg.map_asset_specs(
            with_freshness,
            [
                strategies,
                *partitioned,
                optimize,
                ml_features,
                ml_models,
                ml_scores,
                build_view_assets(),
                build_report_asset(),
            ],
        ),
        asset_checks=[
            alert_counts_add_up,
            every_alert_has_its_call,
            candles_cover_calls,
            candle_quality,
            calls_have_not_drifted,
            *build_rule_checks(),
            *build_agreement_checks(),
        ],
        jobs=[
            ingest_alerts_job,
            candle_inbox_job,
            fetch_candles_job,
            simulate_job,
            backfill_job,
            refresh_report_job,
            search_job,
            train_job,
            score_job,
        ],
        schedules=[daily_candles, nightly_scores, nightly_simulations, nightly_report, weekly_search, weekly_training],
        sensors=[
            alert_inbox_sensor,
            candle_inbox_sensor,
            new_imports_sensor,
            build_automation_sensor(),
            run_failure_sensor,
        ],
        # Importing the package and starting a process cost more than most steps: parallelism is in the engine.
        executor=dg.in_process_executor,
        resources={
            "state_store": PostgresResource(),
            "history_store": ClickHouseResource(),
            "settings": settings,
            **(resources or {}),
        },
    )


defs = build_definitions()
