"""Telling Dagster what a command did, so that its lineage shows imports from the command line too."""

from collections.abc import Collection, Sequence

import dagster as dg

from quantbot_pipeline.defs.alert_assets import alert_materializations
from quantbot_pipeline.defs.ingest_assets import candle_materializations, touched_token_months
from quantbot_pipeline.defs.partitions import check_months, token_month_key
from quantbot_pipeline.servers.dagster_ui import prepare_dagster_home
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.import_candles import ImportOutcome
from quantbot_pipeline.workflows.token_months import TokenMonth


def record_candle_imports(outcomes: Sequence[ImportOutcome], history: HistoryStore, settings: Settings) -> None:
    """Register the tokens of imported files and report their token-months as materialised.

    Token-months of files that were known already are reported where a command that died did not come to it.
    """
    known = touched_token_months([outcome for outcome in outcomes if outcome.is_known])
    new = touched_token_months([outcome for outcome in outcomes if not outcome.is_known])
    check_months(known | new, settings)
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        recorded = instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles"))
        keys = new | {key for key in known if token_month_key(key) not in recorded}
        if keys:
            _report_candles(instance, keys, history)


def record_token_months(keys: Collection[TokenMonth], history: HistoryStore, settings: Settings) -> None:
    """Register the tokens of token-months, and report these as materialised."""
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        _report_candles(instance, keys, history)


def _report_candles(instance: dg.DagsterInstance, keys: Collection[TokenMonth], history: HistoryStore) -> None:
    for materialization in candle_materializations(instance, keys, history):
        instance.report_runless_asset_event(materialization)


def record_alert_import(state: StateStore, settings: Settings) -> None:
    """Report tokens and callers as materialised, and the months of alerts and calls that changed."""
    prepare_dagster_home(settings)
    with dg.DagsterInstance.get() as instance:
        for materialization in list(alert_materializations(instance, state, settings)):
            instance.report_runless_asset_event(materialization)
