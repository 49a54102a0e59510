"""Assets of candles and strategies as they come in, and what taking files has in common."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from quantbot_pipeline.defs.partitions import (
    parse_token_month_key,
    register_tokens,
    token_month_key,
    token_month_partitions,
)
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.find_files import CANDLE_SUFFIXES, expand_files
from quantbot_pipeline.workflows.import_candles import (
    CandleImportOptions,
    ImportOutcome,
    import_candle_files,
)
from quantbot_pipeline.workflows.inbox import (
    CandleImporter,
    FileImporter,
    InboxFolder,
    TakenFile,
    candle_inbox,
    take_files,
    wait_for_complete,
)
from quantbot_pipeline.workflows.store_strategies import newest_versions, store_strategies
from quantbot_pipeline.workflows.token_months import TokenMonth

OWNERS = ["team:quantbot"]


class CandleFilesConfig(dg.Config):
    """Which candle files to ingest: files or folders, where they are; without any, those of the inbox `candles`."""

    paths: list[str] = []


class StrategyFilesConfig(dg.Config):
    """Which strategies to store besides the presets: JSON files; without any, those in the folder `strategies`."""

    paths: list[str] = []


def _strategy_files(paths: list[str], folder: Path) -> list[Path]:
    if paths:
        return expand_files(map(Path, paths), (".json",))
    return sorted(folder.rglob("*.json")) if folder.is_dir() else []


def take_from_inbox(
    folder: InboxFolder, names: list[str], importer: FileImporter, settings: Settings
) -> list[TakenFile]:
    """Take files out of the inbox: those named, else those that two looks find complete."""
    complete = names or wait_for_complete(folder, settle_seconds=settings.inbox_settle_seconds)
    return take_files(folder, complete, importer, now=lambda: datetime.now(UTC))


def take_metadata(taken: Sequence[TakenFile]) -> dict[str, int]:
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


def warn_of_failures(context: dg.OpExecutionContext | dg.AssetExecutionContext, taken: Sequence[TakenFile]) -> None:
    """Say in the log of a run which files could not be taken, and why."""
    for file in taken:
        if file.is_failed:
            context.log.warning("moved to %s: %s", file.report["moved_to"], file.report["error"])


def count_metadata(outcomes: Sequence[ImportOutcome]) -> dict[str, int]:
    """Return the sums over the imports of files."""
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
    store_strategies(state_store, paths)
    rows = newest_versions(state_store.load_strategies())
    return dg.MaterializeResult(
        metadata={"dagster/row_count": len(rows), "names": [f"{row.name} {row.version}" for row in rows]},
        # What is simulated: storing the same strategies again makes nothing stale.
        data_version=dg.DataVersion(strategies_version(rows)),
    )


def strategies_version(rows: Sequence[StrategyRow]) -> str:
    """Return a hash over the strategies that simulations use."""
    text = json.dumps(sorted([row.name, row.version, row.config_hash] for row in rows))
    return hashlib.sha256(text.encode()).hexdigest()


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
            context.log.info("candle files: %s", count_metadata(outcomes))
            touched = touched_token_months([outcome for outcome in outcomes if not outcome.is_known])
        else:
            taken = take_candles(context, [], state_store, history_store, settings)
            touched = taken_token_months(taken)
        asked = {parse_token_month_key(key): key for key in context.partition_keys}
        counts = count_candles(history_store)
        for key, partition_key in asked.items():
            context.add_asset_metadata({"dagster/row_count": counts.get(key, 0)}, partition_key=partition_key)
        log_token_months(context, touched - set(asked), history_store)

    return ohlcv_candles


def log_token_months(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, keys: Collection[TokenMonth], history: HistoryStore
) -> None:
    """Record the candles of token-months as materialised, those of new tokens too."""
    if not keys:
        return
    for materialization in candle_materializations(context.instance, keys, history):
        context.log_event(materialization)


def candle_materializations(
    instance: dg.DagsterInstance, keys: Collection[TokenMonth], history: HistoryStore
) -> Iterator[dg.AssetMaterialization]:
    """Yield what to record of the candles of token-months, after their tokens are known to Dagster."""
    # A token that no partition is of yet would have its materialisation hidden.
    register_tokens(instance, keys)
    counts = count_candles(history)
    for key in sorted(keys):
        yield dg.AssetMaterialization(
            "ohlcv_candles", partition=token_month_key(key), metadata={"dagster/row_count": counts.get(key, 0)}
        )


def take_candles(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    names: list[str],
    state: StateStore,
    history: HistoryStore,
    settings: Settings,
) -> list[TakenFile]:
    """Import candle files of the inbox: those named, else those that two looks find complete."""
    importer = CandleImporter(state, history, settings.first_month, CandleImportOptions(now=datetime.now(UTC)))
    taken = take_from_inbox(candle_inbox(settings.inbox), names, importer, settings)
    warn_of_failures(context, taken)
    context.log.info("candle files: %s", take_metadata(taken))
    return taken


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
