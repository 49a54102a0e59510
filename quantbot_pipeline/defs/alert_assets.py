"""Assets of alerts, tokens, callers and calls; alerts and calls by month.

An alert file is taken whole, and calls are derived from all alerts: a run records the months that changed, whichever
were asked for. What changed is told by a digest per month, which is the partition's data version: what a run that
died did not record, the next one finds still different.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import (
    OWNERS,
    count_metadata,
    take_from_inbox,
    take_metadata,
    warn_of_failures,
)
from quantbot_pipeline.defs.partitions import month_key, month_partitions
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.derive_calls import choose_rules, derive_calls
from quantbot_pipeline.workflows.find_files import ALERT_SUFFIXES, expand_files
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions, import_alert_files
from quantbot_pipeline.workflows.inbox import AlertImporter, alert_inbox
from quantbot_pipeline.workflows.token_months import month_of

_DATA_VERSION_TAG = "dagster/data_version"

_DESCRIPTIONS = {
    "alerts": "Alerts as they were sent, by month of the alert, UTC. Grain: one row per raw message. "
    "Prices in quote currency, market capitalisation in USD.",
    "tokens": "Tokens. Grain: one row per (chain, address), addresses in canonical form.",
    "callers": "Who makes calls. Grain: one row per (source, handle).",
}


class AlertFilesConfig(dg.Config):
    """Which alert files to ingest: files or folders, where they are; without any, those of the inbox folder `alerts`.

    `inbox_files` names complete files in the inbox; without them, its files are looked at twice first.
    """

    paths: list[str] = []
    inbox_files: list[str] = []
    source: str = "file"
    timezone: str | None = None


def build_alert_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Return the assets of alerts and of the calls that are derived from them."""
    months = month_partitions(settings)

    @dg.multi_asset(
        specs=[
            dg.AssetSpec(
                name,
                description=description,
                group_name="alerts",
                kinds={"postgres"},
                owners=OWNERS,
                partitions_def=months if name == "alerts" else None,
                skippable=True,
            )
            for name, description in _DESCRIPTIONS.items()
        ],
        name="ingest_alerts",
        # Dagster wants it of assets with different partitions; each run stores all three.
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def ingest_alerts(
        context: dg.AssetExecutionContext,
        config: AlertFilesConfig,
        state_store: dg.ResourceParam[StateStore],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Read alert files: every row is stored, a duplicate, or quarantined with its reason."""
        counts = take_alerts(context, config, state_store, settings)
        totals = state_store.read("counts/count_state").to_pylist()[0]
        for key in sorted(context.selected_asset_keys):
            if key == dg.AssetKey("alerts"):
                yield dg.MaterializeResult(asset_key=key, metadata=counts)
            else:
                yield dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": totals[key.to_user_string()]})
        _log_changed_months(context, "alerts", state_store, settings)

    @dg.asset(
        deps=["alerts", "tokens", "callers"],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="alerts",
        kinds={"postgres"},
        owners=OWNERS,
        code_version="1",
    )
    def calls(
        context: dg.AssetExecutionContext,
        state_store: dg.ResourceParam[StateStore],
        history_store: dg.ResourceParam[HistoryStore],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult[None]]:
        """Calls derived from alerts by the rules in force, by month of the call, UTC.

        Grain: one row per alert, active or not; a sell is an exit. Each run derives all months and records those that
        changed.
        """
        yield dg.MaterializeResult(metadata=derive_stored_calls(state_store, history_store, settings))
        _log_changed_months(context, "calls", state_store, settings)

    return [ingest_alerts, calls]


def take_alerts(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    config: AlertFilesConfig,
    state: StateStore,
    settings: Settings,
) -> dict[str, int]:
    """Import the alert files that a run's configuration names, and return what became of their rows."""
    options = AlertImportOptions(source=config.source, timezone=config.timezone)
    if config.paths:
        files = expand_files(map(Path, config.paths), ALERT_SUFFIXES)
        counts = count_metadata(import_alert_files(files, state, options=options))
    else:
        importer = AlertImporter(state, options)
        taken = take_from_inbox(alert_inbox(settings.inbox), config.inbox_files, importer, settings)
        warn_of_failures(context, taken)
        counts = take_metadata(taken)
    context.log.info("alert files: %s", counts)
    return counts


def derive_stored_calls(state: StateStore, history: HistoryStore, settings: Settings) -> dict[str, Any]:
    """Derive calls by the rules of the settings, else those in force, and return what changed."""
    derivation = derive_calls(state, history, choose_rules(state, settings))
    return {**derivation.counts._asdict(), "unplaced_tokens": len(derivation.unplaced)}


def changed_months(
    instance: dg.DagsterInstance, asset: str, state: StateStore, settings: Settings
) -> list[dg.AssetMaterialization]:
    """Return a materialisation for each month of `alerts` or `calls` that differs from what Dagster has recorded.

    Months without a partition are left out: those before the first configured one, and for a moment around midnight
    the one that has not begun.
    """
    recorded = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(asset), dg.DagsterEventType.ASSET_MATERIALIZATION, [_DATA_VERSION_TAG]
    )
    last_month = month_of(datetime.now(UTC))
    found = []
    for row in state.read(f"{asset}/digest_months").to_pylist():
        key = month_key(row["month"])
        if not settings.first_month <= row["month"] <= last_month:
            continue
        version = f"{row['row_count']}:{row['digest']}"
        if recorded.get(key, {}).get(_DATA_VERSION_TAG) == version:
            continue
        metadata = {"dagster/row_count": row["row_count"]}
        if "inactive_count" in row:
            metadata["inactive_count"] = row["inactive_count"]
        found.append(
            dg.AssetMaterialization(asset, partition=key, metadata=metadata, tags={_DATA_VERSION_TAG: version})
        )
    return found


def alert_materializations(
    instance: dg.DagsterInstance, state: StateStore, settings: Settings
) -> Iterator[dg.AssetMaterialization]:
    """Return what to record after alerts came in: tokens and callers as a whole, alerts and calls by changed month."""
    totals = state.read("counts/count_state").to_pylist()[0]
    for asset in ("alerts", "calls"):
        yield from changed_months(instance, asset, state, settings)
    for asset in ("tokens", "callers"):
        yield dg.AssetMaterialization(asset, metadata={"dagster/row_count": totals[asset]})


def _log_changed_months(context: dg.AssetExecutionContext, asset: str, state: StateStore, settings: Settings) -> None:
    """Record the months that changed with their own counts and versions.

    After the results of the step: these name the months that were asked for, and their version would hide the digest.
    """
    for materialization in changed_months(context.instance, asset, state, settings):
        context.log_event(materialization)
