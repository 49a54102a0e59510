"""Jobs of assets that sensors, schedules and people start; those that take files or fetch are beside this module."""

import dagster as dg

from quantbot_pipeline.defs.rule_checks import rule_check_keys
from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS

simulate_job = dg.define_asset_job(
    "simulate_job",
    # Checks look at everything that is stored: once a night, before those who read it, and not in every run.
    selection=dg.AssetSelection.assets(*SIMULATION_ASSETS).without_checks(),
    description="Simulate token-months.",
)

refresh_report_job = dg.define_asset_job(
    "refresh_report_job",
    selection=dg.AssetSelection.groups("views_postgres", "views_clickhouse", "report")
    | dg.AssetSelection.checks_for_assets(dg.AssetKey("alerts"), dg.AssetKey("calls"))
    | dg.AssetSelection.checks(*rule_check_keys()),
    description="Count again what is stored; where that is right, apply the views and write the report.",
)

search_job = dg.define_asset_job(
    "search_job",
    selection=dg.AssetSelection.assets("optimization_jobs", "optimization_trials"),
    description="Search over strategy parameters.",
)

train_job = dg.define_asset_job(
    "train_job",
    selection=dg.AssetSelection.assets("ml_features", "ml_models", "ml_scores"),
    description="Make features, train a model and score the calls that came after its training.",
)

score_job = dg.define_asset_job(
    "score_job",
    selection=dg.AssetSelection.assets("ml_scores"),
    description="Score new calls with the models in use, and look whether they drift from what these learned from.",
)
