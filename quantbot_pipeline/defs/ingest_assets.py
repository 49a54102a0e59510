"""Assets of what comes in: tokens, callers, alerts, calls, candles, strategies."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from quantbot_pipeline.defs.partitions import parse_token_month_key, token_month_key, token_month_partitions
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.import_alerts import ALERT_SUFFIXES, derive_calls, import_alert_files
from quantbot_pipeline.workflows.import_candles import (
    CANDLE_SUFFIXES,
    ImportOutcome,
    expand_files,
    import_candle_files,
)
from quantbot_pipeline.workflows.store_strategies import store_strategies
from quantbot_pipeline.workflows.token_months import TokenMonth

OWNERS = ["team:quantbot"]


class AlertFilesConfig(dg.Config):
    """Which alert files to ingest: files or folders; without any, the inbox folder `alerts`."""

    paths: list[str] = []
    source: str = "file"
    timezone: str | None = None


class CandleFilesConfig(dg.Config):
    """Which candle files to ingest: files or folders; without any, the inbox folder `candles`."""

    paths: list[str] = []


class StrategyFilesConfig(dg.Config):
    """Which strategies to store besides the presets: JSON files; without any, those in the folder `strategies`."""

    paths: list[str] = []


def inbox_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of an inbox folder, none if it is empty or missing."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.rglob("*") if file.name.lower().endswith(suffixes))


def _named_or_inbox(paths: list[str], folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return expand_files(map(Path, paths), suffixes) if paths else inbox_files(folder, suffixes)


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
    paths = _named_or_inbox(config.paths, settings.home / "strategies", (".json",))
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
    files = _named_or_inbox(config.paths, settings.inbox / "alerts", ALERT_SUFFIXES)
    outcomes = import_alert_files(files, state_store, source=config.source, timezone=config.timezone)
    counts = _count_metadata(outcomes)
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
def calls(state_store: dg.ResourceParam[StateStore]) -> dg.MaterializeResult[None]:
    """Calls derived from alerts. Grain: one row per alert; a sell is an exit."""
    counts = derive_calls(state_store)
    total = state_store.read("counts/count_state").to_pylist()[0]["calls"]
    return dg.MaterializeResult(metadata={"dagster/row_count": total, "new_calls": counts.stored})


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
        files = _named_or_inbox(config.paths, settings.inbox / "candles", CANDLE_SUFFIXES)
        check_candle_files(files, state_store, first_month=settings.first_month)
        outcomes = import_candle_files(files, state_store, history_store)
        context.log.info("candle files: %s", _count_metadata(outcomes))
        counts = count_candles(history_store)
        asked = {parse_token_month_key(key): key for key in context.partition_keys}
        for key, partition_key in asked.items():
            context.add_asset_metadata({"dagster/row_count": counts.get(key, 0)}, partition_key=partition_key)
        imported = [outcome for outcome in outcomes if not outcome.is_known]
        for key in sorted(touched_token_months(imported) - set(asked)):
            context.log_event(
                dg.AssetMaterialization(
                    "ohlcv_candles",
                    partition=token_month_key(key),
                    metadata={"dagster/row_count": counts.get(key, 0)},
                )
            )

    return ohlcv_candles


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
