"""When simulations and scores are due by themselves, and the sensor that looks.

Off until somebody turns it on in the UI. It does what the sensor of new imports and the nightly schedule do together,
and also runs what a changed strategy or engine makes due: use one or the other. Both at once cost time and do no harm:
a run whose key is known is reused.
"""

import dagster as dg

AUTOMATION_SENSOR = "due_simulations_sensor"


def simulations_are_due() -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of a token-month's simulation: something that it reads changed since it was last run.

    - Candles of its month or one beside it were stored, or calls of its month changed.
    - The set of strategies changed: all token-months are due, where unchanged strategies' runs are reused.
    - The version of the engine changed: all token-months are due, and all runs new.

    `eager()` and `on_missing()` look at the latest month alone, so that history which is imported for a new token would
    stay without results; this looks at every month. It asks for no missing neighbours either: the first month of a
    token has none.
    """
    candles_or_calls = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated()).allow(
        dg.AssetSelection.assets("ohlcv_candles", "calls")
    )
    # Storing the same strategies again is an update as well, but of no other version.
    strategy = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()).allow(
        dg.AssetSelection.assets("strategies")
    )
    engine = dg.AutomationCondition.code_version_changed()
    is_changed = (
        candles_or_calls.with_label("candles or calls changed")
        | strategy.with_label("strategies changed")
        | engine.with_label("engine version changed")
    )
    # Not since the last update: a run that began before the change and ends after it did not see it.
    is_handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.initial_evaluation()
    is_waiting = is_changed.since(is_handled.with_label("asked for"))
    return (is_waiting & ~dg.AutomationCondition.in_progress()).with_label("simulations_are_due")


def scores_are_due() -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of scores: calls, candles, features or models changed since calls were last scored.

    A run that finds nothing new stores nothing. Changes while it is under way make it due after it.
    """
    is_changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated()).allow(
        dg.AssetSelection.assets("calls", "ohlcv_candles", "ml_features", "ml_models")
    )
    is_handled = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.initial_evaluation()
    is_waiting = is_changed.with_label("calls, candles, features or models changed").since(
        is_handled.with_label("asked for")
    )
    return (is_waiting & ~dg.AutomationCondition.in_progress()).with_label("scores_are_due")


def build_automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions, off until turned on."""
    return dg.AutomationConditionSensorDefinition(
        AUTOMATION_SENSOR,
        target=dg.AssetSelection.assets("simulation_runs", "ml_scores"),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Simulates token-months whose candles, calls, strategies or engine changed, and scores new calls. "
        "An alternative to new_imports_sensor with nightly_simulations.",
    )
