"""The HTML report of what is stored now: a folder of pages that need nothing else."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from quantbot_pipeline import __version__
from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.report.site_collect import collect_run_details, collect_run_trades, collect_site
from quantbot_pipeline.report.site_content import Narrowing, RunDetail, RunLine, SiteContent, TradeList
from quantbot_pipeline.report.site_files import SiteChanges, SiteFolder
from quantbot_pipeline.report.site_page import paged_strategies, version_of
from quantbot_pipeline.report.site_pages import list_pages, page_paths, pages_fingerprint
from quantbot_pipeline.report.site_paths import caller_path, run_path, strategy_path, token_path
from quantbot_pipeline.report.site_render import render_site_page
from quantbot_pipeline.report.site_run_page import choose_drawn, run_page
from quantbot_pipeline.report.trade_collect import TradeKey, collect_trades
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.model_cards import drift_for_card, write_model_card

# The candles of so many runs' trades are in memory at a time.
_RUNS_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What writing a report did.

    Attributes:
        changes: Pages written, left as they were, and removed.
        asked_for: The pages of the runs, the strategy or the caller that were asked for by name.
        undrawn: Why trades of runs whose pages were written are not drawn, by run.
        is_empty: Whether no call is in what the report was narrowed to.
    """

    changes: SiteChanges
    asked_for: tuple[Path, ...] = ()
    undrawn: Mapping[int, str] = field(default_factory=dict)
    is_empty: bool = False


def write_current_report(
    state: StateStore,
    history: HistoryStore,
    directory: Path,
    *,
    narrowing: Narrowing | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> WrittenReport:
    """Write the report of the current state, with the cards of its models.

    Args:
        state: Postgres.
        history: ClickHouse.
        directory: Folder of the report; made when it is missing.
        narrowing: What to narrow it to; everything without it.
        on_progress: Told what is being done.

    Raises:
        DataError: what it shall be narrowed to is not there.
        ConfigError: the folder can't be written, or holds an index page that is no report.
        StorageError: a query fails.
    """
    narrowing = narrowing or Narrowing()
    now = datetime.now(UTC)
    content = collect_site(state, history, generated_at=now, narrowing=narrowing)
    with SiteFolder(directory) as folder:
        folder.put_script()
        shown = {(model.name, model.version) for model in content.overview.models}
        for row in state.load_models() if shown else ():
            if (row.name, row.version) in shown:
                write_model_card(row, folder.staging, drift_for_card(row, state, history), is_beside_report=True)
        undrawn = _write_runs(state, history, content, folder, on_progress)
        pages, paths = list(list_pages(content)), page_paths(content)
        on_progress("writing the report: lists")
        for page in pages[:-1]:
            folder.put(render_site_page(page, generated_at=now, narrowing=narrowing, paths=paths))
        changes = folder.finish(render_site_page(pages[-1], generated_at=now, narrowing=narrowing, paths=paths))
    is_empty = not (
        narrowing.is_whole or content.overview.example or any(each.total for each in content.strategy_trades.values())
    )
    return WrittenReport(changes, tuple(directory / path for path in _asked_for(content)), undrawn, is_empty)


def _write_runs(
    state: StateStore,
    history: HistoryStore,
    content: SiteContent,
    folder: SiteFolder,
    on_progress: Callable[[str], None],
) -> dict[int, str]:
    """Write the pages of runs that are not there yet; return, by run, why its trades can't be drawn."""
    by_id = {run.run_id: run for run in content.runs}
    details = collect_run_details(state, content.run_pages)
    trades = collect_run_trades(history, content.run_pages)
    paths = page_paths(content)
    keys = {
        run_id: _key(content, by_id[run_id], details[run_id], trades[run_id], paths) for run_id in content.run_pages
    }
    stale = []
    for run_id, key in keys.items():
        if folder.has(run_path(run_id), key):
            folder.keep(run_path(run_id))
        else:
            stale.append(run_id)
    unreadable: dict[int, StrategyError] = {}
    for first in range(0, len(stale), _RUNS_AT_ONCE):
        batch = stale[first : first + _RUNS_AT_ONCE]
        on_progress(f"writing the report: run {first + 1} of {len(stale)}")
        chosen = [TradeKey(run_id, call_id) for run_id in batch for call_id in choose_drawn(trades[run_id])]
        drawn = collect_trades(state, history, chosen, unreadable=unreadable)
        for run_id in batch:
            of_run = [trade for trade in drawn if trade.run_id == run_id]
            undrawn = _first_line(unreadable[run_id]) if run_id in unreadable else ""
            page = run_page(content, by_id[run_id], details[run_id], trades[run_id], of_run, undrawn=undrawn)
            rendered = render_site_page(
                page, generated_at=content.overview.generated_at, narrowing=content.narrowing, paths=paths
            )
            folder.put(rendered, key=keys[run_id])
    return {run_id: _first_line(error) for run_id, error in unreadable.items()}


def _first_line(error: StrategyError) -> str:
    """Return what an error says without its list of faults."""
    return str(error).partition("\n")[0]


def _key(content: SiteContent, run: RunLine, detail: RunDetail, trades: TradeList, paths: frozenset[str]) -> str:
    """Return what a run's page is made of: what a run did never changes; its rank, names and what it leads to may."""
    named = [caller_path(trade.caller) for trade in trades.trades]
    named += [token_path((trade.chain, trade.token_address)) for trade in trades.trades]
    leads_to = sorted(paths.intersection(named))
    parts = (run, detail, trades, leads_to, content.narrowing.words(), pages_fingerprint(), __version__)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _asked_for(content: SiteContent) -> Iterator[str]:
    narrowing = content.narrowing
    yield from (run_path(run_id) for run_id in narrowing.run_ids)
    if narrowing.caller:
        yield caller_path(narrowing.caller)
    if narrowing.strategy:
        yield from (strategy_path(version_of(row)) for row in paged_strategies(content))
