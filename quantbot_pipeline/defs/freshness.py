"""How old assets may become before Dagster's UI says so; each with its reason.

A policy judges the last materialisation of an asset, of whichever partition: it tells that something has stopped
coming, not that a month is missing (for that there are checks). Assets that change only when a person changes them have
none: strategies, tokens, callers, and the views, which show what is in the tables at the moment of asking.
"""

from datetime import timedelta

import dagster as dg


def _policies() -> dict[str, dg.FreshnessPolicy]:
    # Fetched every day at 00:15: after 26 hours one day's candles did not come, after three days trades of last
    # week's calls end at prices that are missing.
    candles = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(days=3))
    # Callers rest on some days; a week without any alert means that nobody exports them any more.
    alerts = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=2), fail_window=timedelta(days=7))
    # Runs follow alerts and candles within a night. Nothing is simulated where nothing changed, so they may be older
    # than these by that night.
    simulations = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=3), fail_window=timedelta(days=8))
    # Searched and trained every Sunday: one week left out is a warning, two in a row a failure.
    weekly = dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=15))
    # Written at 02:00, and read in the morning: what is not there by 06:00 UTC was not written that night.
    report = dg.FreshnessPolicy.cron(deadline_cron="0 6 * * *", lower_bound_delta=timedelta(hours=5))
    return {
        "ohlcv_candles": candles,
        "alerts": alerts,
        "calls": alerts,
        "simulation_runs": simulations,
        "simulation_events": simulations,
        "simulation_aggregates": simulations,
        "simulation_results_summary": simulations,
        "optimization_jobs": weekly,
        "optimization_trials": weekly,
        "ml_features": weekly,
        "ml_models": weekly,
        # They follow calls within a night, as simulations do.
        "ml_scores": simulations,
        "report": report,
    }


def with_freshness(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Return an asset with its policy, if it has one."""
    policy = _policies().get(spec.key.to_user_string())
    return spec if policy is None else spec.replace_attributes(freshness_policy=policy)
