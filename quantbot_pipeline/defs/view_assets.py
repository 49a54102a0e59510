"""Assets of the views, one per view file, and of the report."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS
from quantbot_pipeline.report.small_plots import plot_bars, plot_lines
from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.views import (
    BuiltView,
    View,
    agreeing_views,
    build_views,
    check_agreement,
    load_views,
)
from quantbot_pipeline.storage.views.rendering import DATABASES

_LONGEST_CHECK_NAME = 80

AGREEMENT_CHECK = "agrees_with_clickhouse"
"""Name of the check that a view holds the same in both databases."""

_ASSETS_OF_TABLES = {
    **{
        name: name
        for name in (
            "tokens",
            "callers",
            "alerts",
            "calls",
            "strategies",
            "ohlcv_candles",
            "optimization_jobs",
            "optimization_trials",
            "ml_features",
            "ml_models",
            "ml_scores",
            *SIMULATION_ASSETS,
        )
    },
    # Mirrors of Postgres in ClickHouse come from its tables.
    "published_runs": "simulation_runs",
    "published_calls": "calls",
    # A view of the migrations on callers and their aliases.
    "canonical_callers": "callers",
}
"""The asset that writes a table."""

TABLES_WITHOUT_ASSET = frozenset(
    {
        "backfill_token_months",
        "backfills",
        "caller_aliases",
        "fetched_ranges",
        "imports",
        "quarantine",
        "quarantined_rows",
    }
)
"""Tables that views read and no asset writes: bookkeeping of imports and commands."""


def _view_key(database: str, name: str) -> dg.AssetKey:
    return dg.AssetKey([database, name])


def _upstream(view: View) -> set[dg.AssetKey]:
    tables = {_ASSETS_OF_TABLES[name] for name in view.sources if name in _ASSETS_OF_TABLES}
    return {_view_key(view.database, name) for name in view.refs} | {dg.AssetKey(name) for name in tables}


def tables_of_unknown_assets(views: Iterable[View]) -> list[str]:
    """Return the tables that views read of which nobody said which asset writes them, or that none does."""
    return sorted({name for view in views for name in view.sources} - _ASSETS_OF_TABLES.keys() - TABLES_WITHOUT_ASSET)


def view_asset_keys() -> list[dg.AssetKey]:
    """Return the keys of all view assets."""
    return [_view_key(database, view.name) for database in DATABASES for view in load_views(database)]


def _check_names(view: View) -> dict[str, str]:
    """Return the name of each test's check, by the test as its header says it."""
    names: dict[str, str] = {}
    for test in view.tests:
        words = re.findall(r"[a-z0-9_]+", str(test).lower())
        name = base = "_".join(words)[:_LONGEST_CHECK_NAME].strip("_")
        number = 2
        while name in names.values():
            name = f"{base}_{number}"
            number += 1
        names[str(test)] = name
    return names


def _spec(view: View) -> dg.AssetSpec:
    return dg.AssetSpec(
        _view_key(view.database, view.name),
        description="\n\n".join(part for part in (view.file.description, view.file.notes) if part),
        deps=_upstream(view),
        group_name=f"views_{view.database}",
        kinds={view.database, view.materialized},
        owners=OWNERS,
        # What fails, or is below what fails, is not materialized; all else is.
        skippable=True,
        metadata={
            "grain": view.file.grain,
            "sql": dg.MetadataValue.md(f"```sql\n{view.readable_sql}\n```"),
        },
    )


def _metadata(view: View, result: BuiltView) -> dict[str, dg.MetadataValue]:
    """Return what Dagster shows of a view that was built: columns with types and units, rows of a table."""
    comments = {column.name: column.comment for column in view.columns}
    columns = [dg.TableColumn(column.name, column.type, comments[column.name]) for column in result.columns]
    metadata: dict[str, dg.MetadataValue] = {
        "outcome": dg.MetadataValue.text(result.outcome),
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns)),
    }
    if result.row_count is not None:
        metadata["dagster/row_count"] = dg.MetadataValue.int(result.row_count)
    return metadata


def build_view_assets(folder: Path | None = None, tables: frozenset[str] | None = None) -> dg.AssetsDefinition:
    """Return the assets of all views and of their tests, as checks: one step builds those that are selected.

    Args:
        folder: Folder with a folder of view files per database; the project's by default.
        tables: Tables that views may read; those of the migrations by default.
    """
    views = {
        _view_key(database, view.name): view
        for database in DATABASES
        for view in load_views(database, None if folder is None else folder / database, tables)
    }
    checks = {key: _check_names(view) for key, view in views.items()}

    @dg.multi_asset(
        specs=[_spec(view) for view in views.values()],
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=test, blocking=False)
            for key, names in checks.items()
            for test, name in names.items()
        ],
        name="build_views",
        can_subset=True,
    )
    def build_selected_views(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """Build the selected views aside, test them, show those that pass; fail where one does not."""
        urls = ensure_servers(settings)
        # A check alone was selected: its view is tested as well as it can be, by building it.
        selected = {*context.selected_asset_keys, *(key.asset_key for key in context.selected_asset_check_keys)}
        built = build_views(
            urls.postgres,
            urls.clickhouse,
            selection=[f"{view.database}.{view.name}" for key, view in views.items() if key in selected],
            is_describing=True,
            folder=folder,
            tables=tables,
        )
        for result in built.views:
            key = _view_key(result.database, result.view)
            results = [
                dg.AssetCheckResult(
                    passed=test.passed,
                    check_name=checks[key][test.test],
                    asset_key=key,
                    metadata={"rows that fail": test.failures},
                )
                for test in result.tests
                if dg.AssetCheckKey(key, checks[key][test.test]) in context.selected_asset_check_keys
            ]
            if result.has_failed or key not in context.selected_asset_keys:
                yield from results
                continue
            yield dg.MaterializeResult(asset_key=key, metadata=_metadata(views[key], result), check_results=results)
        if built.failures:
            broken = {f"{view.database}.{view.view}": view.reason for view in built.failures}
            raise dg.Failure(
                f"{len(broken)} views are not built and go on showing what they showed; the others are built",
                metadata=broken,
                allow_retries=False,
            )

    return build_selected_views


def build_agreement_checks() -> list[dg.AssetChecksDefinition]:
    """Return a check for each view of Postgres that answers in ClickHouse too: both hold the same."""
    return [_agreement_check(view.name) for view in agreeing_views(load_views("postgres"), load_views("clickhouse"))]


def _agreement_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=_view_key("postgres", name),
        additional_deps=[_view_key("clickhouse", name)],
        name=AGREEMENT_CHECK,
        description=f"{name} holds the same in Postgres and in ClickHouse, where neither is behind. Alone: "
        f"`quantbot views test --select {name}`.",
    )
    def agrees_with_clickhouse(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
        """Compare both, and say which rows differ."""
        urls = ensure_servers(settings)
        (result,) = check_agreement(urls.postgres, urls.clickhouse, selection=[f"postgres.{name}"])
        metadata: dict[str, dg.MetadataValue] = {"rows that differ": dg.MetadataValue.int(result.failures)}
        if result.examples:
            metadata["examples"] = dg.MetadataValue.text("\n".join(result.examples))
        if result.not_compared:
            metadata["not compared"] = dg.MetadataValue.text(result.not_compared)
        return dg.AssetCheckResult(
            passed=result.passed, metadata=metadata, description="; ".join(result.examples) or result.not_compared
        )

    return agrees_with_clickhouse


def build_report_asset() -> dg.AssetsDefinition:
    """Return the asset of the HTML report."""

    @dg.asset(
        deps=[*view_asset_keys(), "optimization_trials", "ml_models"],
        group_name="report",
        kinds={"html"},
        owners=OWNERS,
    )
    def report(
        state_store: dg.ResourceParam[StateStore],
        history_store: dg.ResourceParam[HistoryStore],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        """HTML pages that need no network: leaderboards, callers, runs with their trades, searches, models, data."""
        # Plotly and the templates are slow to import.
        from quantbot_pipeline.report.trade_collect import plot_extreme_trades
        from quantbot_pipeline.workflows.write_report import write_current_report

        written = write_current_report(state_store, history_store, settings.reports_directory)
        changes = written.changes
        for reason in written.undrawn.values():
            dg.get_dagster_logger().warning("trades are not drawn: %s", reason)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(changes.index),
                "pages": changes.page_count,
                "pages_written": changes.written,
                "pages_removed": changes.removed,
                **report_plots(history_store),
                **{
                    name: dg.MetadataValue.md(plot)
                    for name, plot in plot_extreme_trades(state_store, history_store).items()
                },
            }
        )

    return report


def report_plots(history: HistoryStore) -> dict[str, dg.MarkdownMetadataValue]:
    """Return small plots of what the report holds: equity by strategy over the days, coverage by month."""
    daily = history.read("report/load_daily_pnl").to_pylist()
    days = sorted({row["day"] for row in daily})
    changes: dict[str, dict[str, float]] = {}
    for row in daily:
        name = f"{row['strategy_name']} {row['strategy_version']}"
        changes.setdefault(name, {})[row["day"]] = row["pnl"]
    equity = {name: list(accumulate(of_day.get(day, 0.0) for day in days)) for name, of_day in changes.items()}
    best = dict(sorted(equity.items(), key=lambda item: -item[1][-1]))
    tokens: dict[str, set[tuple[str, str]]] = {}
    for row in history.load_coverage().to_pylist():
        tokens.setdefault(row["month"], set()).add((row["chain"], row["token_address"]))
    first, last = (days[0], days[-1]) if days else ("", "")
    return {
        "equity": dg.MetadataValue.md(
            plot_lines(best, title="Sum of trade results by strategy, each on capital 1", first=first, last=last)
        ),
        "coverage": dg.MetadataValue.md(
            plot_bars({month: len(tokens[month]) for month in sorted(tokens)}, title="Tokens with candles by month")
        ),
    }
