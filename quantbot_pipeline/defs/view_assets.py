"""Assets of the views, one per view file, and of the report."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Literal

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import OWNERS
from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS
from quantbot_pipeline.report.small_plots import plot_bars, plot_lines
from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.views import View, apply_views, load_views

_DATABASES: tuple[Literal["postgres", "clickhouse"], ...] = ("postgres", "clickhouse")

# What mirrors of Postgres in ClickHouse come from.
_MIRRORED = {"published_runs": "simulation_runs", "published_calls": "calls"}


def _view_key(database: str, name: str) -> dg.AssetKey:
    return dg.AssetKey([database, name])


def _upstream(database: str, view: View, views: set[str]) -> set[dg.AssetKey]:
    assets = {"tokens", "callers", "alerts", "calls", "strategies", "ohlcv_candles", *SIMULATION_ASSETS}
    assets |= {"optimization_jobs", "optimization_trials", "ml_features", "ml_models"}
    keys = set()
    for name in view.depends:
        table = _MIRRORED.get(name, name)
        if name in views:
            keys.add(_view_key(database, name))
        elif table in assets:
            keys.add(dg.AssetKey(table))
    return keys


def view_asset_keys() -> list[dg.AssetKey]:
    """Return the keys of all view assets."""
    return [_view_key(database, view.name) for database in _DATABASES for view in load_views(database)]


def build_view_assets() -> dg.AssetsDefinition:
    """Return the assets of all views: one step applies them in dependency order in both databases."""
    specs = []
    for database in _DATABASES:
        views = load_views(database)
        names = {view.name for view in views}
        specs += [
            dg.AssetSpec(
                _view_key(database, view.name),
                description=_description(view),
                deps=_upstream(database, view, names),
                group_name=f"views_{database}",
                kinds={database, "view"},
                owners=OWNERS,
            )
            for view in views
        ]

    @dg.multi_asset(specs=specs, name="apply_views")
    def apply_all_views(settings: dg.ResourceParam[Settings]) -> Iterator[dg.MaterializeResult[None]]:
        """Create or replace every view of both databases, in dependency order."""
        urls = ensure_servers(settings)
        apply_views(urls.postgres, urls.clickhouse)
        for spec in specs:
            yield dg.MaterializeResult(asset_key=spec.key)

    return apply_all_views


def _description(view: View) -> str:
    comments = [line[2:].strip() for line in view.text.splitlines() if line.startswith("--")]
    return "\n".join(line for line in comments if not line.startswith("test:"))


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
        """One self-contained HTML page: leaderboards, equity, a trade on its candles, trials, models."""
        from quantbot_pipeline.workflows.write_report import write_current_report  # plotly is slow to import

        path = write_current_report(state_store, history_store, settings.reports_directory)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(path),
                "bytes": path.stat().st_size,
                **report_plots(history_store),
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
