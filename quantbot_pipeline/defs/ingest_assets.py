"""Assets of what comes in: tokens, callers, alerts, calls, candles, strategies."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from quantbot_pipeline.defs.partitions import (
    parse_token_month_key,
    register_tokens,
    token_month_key,
    token_month_partitions,
)
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.derive_calls import choose_rules, derive_calls
from quantbot_pipeline.workflows.import_alerts import ALERT_SUFFIXES, AlertImportOptions, import_alert_files
from quantbot_pipeline.workflows.import_candles import (
    CANDLE_SUFFIXES,
    CandleImportOptions,
    ImportOutcome,
    expand_files,
    import_candle_files,
)
from quantbot_pipeline.workflows.inbox import (
    AlertImporter,
    CandleImporter,
    FileImporter,
    InboxFolder,
    TakenFile,
    alert_inbox,
    candle_inbox,
    take_files,
    wait_for_complete,
)
from quantbot_pipeline.workflows.store_strategies import store_strategies
from quantbot_pipeline.workflows.token_months import TokenMonth

OWNERS = ["team:quantbot"]


class AlertFilesConfig(dg.Config):
    """Which alert files to ingest: files or folders, where they are; without any, those of the inbox folder `alerts`.

    `inbox_files` names complete files in the inbox; without them, its files are looked at twice first.
    """

    paths: list[str] = []
    inbox_files: list[str] = []
    source: str = "file"
    timezone: str | None = None


class CandleFilesConfig(dg.Config):
    """Which candle files to ingest: files or folders, where they are; without any, those of the inbox `candles`."""

    paths: list[str] = []


class InboxFilesConfig(dg.Config):
    """Names of complete files in the inbox; without any, its files are looked at twice first."""

    inbox_files: list[str] = []


class StrategyFilesConfig(dg.Config):
    """Which strategies to store besides the presets: JSON files; without any, those in the folder `strategies`."""

    paths: list[str] = []


def _strategy_files(paths: list[str], folder: Path) -> list[Path]:
    if paths:
        return expand_files(map(Path, paths), (".json",))
    return sorted(folder.rglob("*.json")) if folder.is_dir() else []


def _take(folder: InboxFolder, names: list[str], importer: FileImporter, settings: Settings) -> list[TakenFile]:
    """Take files out of the inbox: those named, else those that two looks find complete."""
    complete = names or wait_for_complete(folder, settle_seconds=settings.inbox_settle_seconds)
    return take_files(folder, complete, importer, now=lambda: datetime.now(UTC))


def _take_metadata(taken: Sequence[TakenFile]) -> dict[str, int]:
    """Return the sums over the reports of files that were taken."""
    sums = {
        f"rows_{name}": sum(int(file.report.get(key, 0)) for file in taken)
        for name, key in (("read", "rows"), ("stored", "stored"), ("duplicate", "duplicates"))
    }
    return {
        "files": len(taken),
        "files_known_already": sum(bool(file.report.get("known")) for file in taken),
        "files_failed": sum(file.is_failed for file in taken),
        **sums,
        "rows_quarantined": sum(int(file.report.get("quarantined", 0)) for file in taken),
    }


def _warn_of_failures(context: dg.OpExecutionContext | dg.AssetExecutionContext, taken: Sequence[TakenFile]) -> None:
    for file in taken:
        if file.is_failed:
            context.log.warning("moved to %s: %s", file.report["moved_to"], file.report["error"])


def _count_metadata(outcomes: Sequence[ImportOutcome]) -> dict[str, int]:
    records = [outcome.record for outcome in outcomes]
    return {
        "files": len(records),
        "files_known_already": sum(outcome.is_known for outcome in outcomes),
        "rows_read": sum(record.rows_read for record in records),
        "rows_stored": sum(record.rows_stored for record in records),
        "rows_duplicate": sum(record.rows_duplicate for record in records),
        "rows_quarantined": sum(record.rows_quarantined for record in records),
    }


@dg.asset(group_name="strategies", kinds={"postgres"}, owners=OWNERS, code_version="1")
def strategies(
    config: StrategyFilesConfig,
    state_store: dg.ResourceParam[StateStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Declarative strategies. Grain: one row per (name, version); a used version never changes."""
    paths = _strategy_files(config.paths, settings.home / "strategies")
    rows = store_strategies(state_store, paths)
    return dg.MaterializeResult(metadata={"strategies": len(rows), "names": [row.name for row in rows]})


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            "alerts",
            description="Alerts as they were sent. Grain: one row per raw message. Prices in quote currency.",
            group_name="alerts",
            kinds={"postgres"},
            owners=OWNERS,
        ),
        dg.AssetSpec(
            "tokens",
            description="Tokens. Grain: one row per (chain, address), addresses in canonical form.",
            group_name="alerts",
            kinds={"postgres"},
            owners=OWNERS,
        ),
        dg.AssetSpec(
            "callers",
            description="Who makes calls. Grain: one row per (source, handle).",
            group_name="alerts",
            kinds={"postgres"},
            owners=OWNERS,
        ),
    ],
    name="ingest_alerts",
)
def ingest_alerts(
    context: dg.AssetExecutionContext,
    config: AlertFilesConfig,
    state_store: dg.ResourceParam[StateStore],
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.MaterializeResult[None]]:
    """Read alert files: every row is stored, a duplicate, or quarantined with its reason."""
    options = AlertImportOptions(source=config.source, timezone=config.timezone)
    if config.paths:
        files = expand_files(map(Path, config.paths), ALERT_SUFFIXES)
        counts = _count_metadata(import_alert_files(files, state_store, options=options))
    else:
        importer = AlertImporter(state_store, options)
        taken = _take(alert_inbox(settings.inbox), config.inbox_files, importer, settings)
        _warn_of_failures(context, taken)
        counts = _take_metadata(taken)
    context.log.info("alert files: %s", counts)
    totals = state_store.read("counts/count_state").to_pylist()[0]
    yield dg.MaterializeResult(asset_key="alerts", metadata=counts | {"dagster/row_count": totals["alerts"]})
    for name in ("tokens", "callers"):
        yield dg.MaterializeResult(asset_key=name, metadata={"dagster/row_count": totals[name]})


@dg.asset(
    deps=["alerts", "tokens", "callers"],
    group_name="alerts",
    kinds={"postgres"},
    owners=OWNERS,
    code_version="1",
)
def calls(
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult[None]:
    """Calls derived from alerts by the rules in force. Grain: one row per alert, active or not; a sell is an exit."""
    counts = derive_stored_calls(state_store, history_store, settings)
    return dg.MaterializeResult(metadata={"dagster/row_count": counts["active"] + counts["inactive"], **counts})


def derive_stored_calls(state: StateStore, history: HistoryStore, settings: Settings) -> dict[str, Any]:
    """Derive calls by the rules of the settings, else those in force, and return what changed."""
    derivation = derive_calls(state, history, choose_rules(state, settings))
    counts = derivation.counts._asdict()
    del counts["is_mirror_old"]
    return {**counts, "unplaced_tokens": len(derivation.unplaced)}


def build_candle_asset(settings: Settings) -> dg.AssetsDefinition:
    """Return the asset of candles, partitioned by token and month."""

    @dg.asset(
        partitions_def=token_month_partitions(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="candles",
        kinds={"clickhouse"},
        owners=OWNERS,
        code_version="1",
    )
    def ohlcv_candles(
        context: dg.AssetExecutionContext,
        config: CandleFilesConfig,
        state_store: dg.ResourceParam[StateStore],
        history_store: dg.ResourceParam[HistoryStore],
        settings: dg.ResourceParam[Settings],
    ) -> None:
        """Candles. Grain: one row per (chain, token, interval, open time). Quote currency, base volume, UTC.

        A file is taken whole; token-months of it that the run did not name are recorded as materialised too.
        """
        touched: set[TokenMonth] = set()
        if config.paths:
            files = expand_files(map(Path, config.paths), CANDLE_SUFFIXES)
            check_candle_files(files, state_store, first_month=settings.first_month)
            outcomes = import_candle_files(files, state_store, history_store)
            context.log.info("candle files: %s", _count_metadata(outcomes))
            touched = touched_token_months([outcome for outcome in outcomes if not outcome.is_known])
        else:
            taken = _take_candles(context, [], state_store, history_store, settings)
            touched = taken_token_months(taken)
        # A token that no partition is of yet would have its materialisation hidden.
        register_tokens(context.instance, touched)
        counts = count_candles(history_store)
        asked = {parse_token_month_key(key): key for key in context.partition_keys}
        for key, partition_key in asked.items():
            context.add_asset_metadata({"dagster/row_count": counts.get(key, 0)}, partition_key=partition_key)
        for key in sorted(touched - set(asked)):
            context.log_event(
                dg.AssetMaterialization(
                    "ohlcv_candles",
                    partition=token_month_key(key),
                    metadata={"dagster/row_count": counts.get(key, 0)},
                )
            )

    return ohlcv_candles


def _take_candles(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    names: list[str],
    state: StateStore,
    history: HistoryStore,
    settings: Settings,
) -> list[TakenFile]:
    importer = CandleImporter(state, history, settings.first_month, CandleImportOptions(now=datetime.now(UTC)))
    taken = _take(candle_inbox(settings.inbox), names, importer, settings)
    _warn_of_failures(context, taken)
    context.log.info("candle files: %s", _take_metadata(taken))
    return taken


@dg.op(
    description="Takes complete candle files out of the inbox, makes their tokens partitions, derives calls anew.",
)
def take_candle_files(
    context: dg.OpExecutionContext,
    config: InboxFilesConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Import candle files and record the token-months that they touch.

    No asset: a file's tokens are known once it is read, and a run of an asset needs its partitions before that.
    """
    taken = _take_candles(context, config.inbox_files, state_store, history_store, settings)
    keys = taken_token_months(taken)
    if not keys:
        return
    register_tokens(context.instance, keys)
    counts = count_candles(history_store)
    for key in sorted(keys):
        context.log_event(
            dg.AssetMaterialization(
                "ohlcv_candles", partition=token_month_key(key), metadata={"dagster/row_count": counts.get(key, 0)}
            )
        )
    context.log.info("calls: %s", derive_stored_calls(state_store, history_store, settings))


def taken_token_months(taken: Sequence[TakenFile]) -> set[TokenMonth]:
    """Return the token-months of files that were taken, those of an import that another process finished too."""
    return {TokenMonth.from_parts(*parts) for file in taken for parts in file.report.get("token_months", ())}


def touched_token_months(outcomes: Sequence[ImportOutcome]) -> set[TokenMonth]:
    """Return the token-months of files."""
    return {TokenMonth.from_parts(*parts) for outcome in outcomes for parts in outcome.record.details["token_months"]}


def count_candles(history: HistoryStore) -> dict[TokenMonth, int]:
    """Return how many candles are stored per token-month, over all intervals."""
    counts: dict[TokenMonth, int] = {}
    for row in history.load_coverage().to_pylist():
        key = TokenMonth.from_parts(row["chain"], row["token_address"], row["month"])
        counts[key] = counts.get(key, 0) + row["candle_count"]
    return counts
