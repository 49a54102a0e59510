"""The report's pages: which there are, and what each shows. Texts stay as they are; the templates escape them."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from quantbot_pipeline.report.collect import MODELS
from quantbot_pipeline.report.content import CoverageMap, EquityCurve, Standing
from quantbot_pipeline.report.figures import (
    CURVE_COLOURS,
    MATRIX_ROWS,
    coverage_figure,
    coverage_height,
    equity_figure,
    matrix_figure,
    matrix_height,
    months_figure,
    spread_figure,
)
from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.search_pictures import draw_search
from quantbot_pipeline.report.site_collect import CALLER_PAGES, CALLER_TRADES, LISTED_ROWS, RUN_PAGES, SEARCH_PAGES
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    CallerName,
    RunDetail,
    RunLine,
    SiteContent,
    StrategyName,
    TradeList,
)
from quantbot_pipeline.report.site_paths import (
    ABOUT,
    CALLERS,
    INDEX,
    QUALITY,
    RUNS,
    SEARCHES,
    STRATEGIES,
    TOKENS,
    caller_path,
    run_path,
    search_path,
    strategy_path,
)
from quantbot_pipeline.report.site_paths import (
    MODELS as MODELS_PAGE,
)
from quantbot_pipeline.report.site_tables import (
    caller_table,
    exit_table,
    failure_table,
    gap_table,
    health_table,
    mart_source,
    month_table,
    quality_table,
    quarantine_table,
    run_table,
    search_table,
    strategy_table,
    token_table,
    trade_table,
    trades_source,
)
from quantbot_pipeline.report.tables import Column, Source, Table
from quantbot_pipeline.report.trade_chart import drawing_notes, plan_drawing, trade_figure
from quantbot_pipeline.report.trade_content import TradeContent, event_rows
from quantbot_pipeline.report.trade_words import describe_trade

SECTIONS = (
    (STRATEGIES, "Strategies"),
    (CALLERS, "Callers"),
    (RUNS, "Runs"),
    (TOKENS, "Tokens"),
    (SEARCHES, "Searches"),
    (MODELS_PAGE, "Models"),
    (QUALITY, "Data quality"),
)
"""Pages that every page leads to, with their names."""

DRAWN_TRADES = 4
"""Trades of a run that are drawn; its other ones are in its table, and 'quantbot trade' draws any."""

DRAWN_CANDLES = 400
"""Candles that are drawn of a trade at most; more of them melt into a band on a screen of usual width."""

_NO_VALUE = "\N{EN DASH}"

_OVERVIEW_ROWS = 10
_STRATEGY_CALLERS = 50
_STRATEGY_RUNS = 200
_EVENT_ROWS = 500


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page before it is rendered.

    Attributes:
        path: From the folder of the report.
        section: The page in the navigation that it belongs to; empty for none.
        title: Of the window.
        template: Name of its template.
        figures: Plotly documents by name; each has a place of id `figure-<name>` in the template.
        named: What else the template shows.
    """

    path: str
    section: str
    title: str
    template: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)


def list_pages(content: SiteContent) -> Iterator[SitePage]:
    """Yield all pages but those of runs, which are collected one by one; the index comes last."""
    yield from (_strategy_page(content, row) for row in _strategies(content))
    yield from (_caller_page(content, name) for name in content.caller_pages)
    yield from (_search_page(search) for search in content.search_pages)
    yield _strategies_page(content)
    yield _callers_page(content)
    yield _runs_page(content)
    yield _tokens_page(content)
    yield _searches_page(content)
    yield _models_page(content)
    yield _quality_page(content)
    yield _about_page(content)
    yield _index_page(content)


def page_paths(content: SiteContent) -> frozenset[str]:
    """Return where all pages of the site are: names lead to those alone, a narrowed report has fewer."""
    lists = (INDEX, STRATEGIES, CALLERS, RUNS, TOKENS, SEARCHES, MODELS_PAGE, QUALITY, ABOUT)
    return frozenset(
        [
            *lists,
            *(strategy_path(_version_of(row)) for row in _strategies(content)),
            *(caller_path(name) for name in content.caller_pages),
            *(run_path(run_id) for run_id in content.run_pages),
            *(search_path(search.job_id) for search in content.search_pages),
        ]
    )


def _strategies(content: SiteContent) -> tuple[Standing, ...]:
    wanted = content.narrowing.strategy
    return tuple(row for row in content.overview.strategies if wanted in ("", row.strategy))


def _curve(content: SiteContent, name: StrategyName) -> EquityCurve | None:
    return next((curve for curve in content.overview.equity if (curve.strategy, curve.version) == name), None)


def _drawn_curves(content: SiteContent) -> tuple[EquityCurve, ...]:
    """Return the curves of the best-ranked strategies, as many as there are colours that can be told apart."""
    wanted = content.narrowing.strategy
    curves = (curve for curve in content.overview.equity if wanted in ("", curve.strategy))
    return tuple(islice(curves, len(CURVE_COLOURS)))


def _equity_source(content: SiteContent) -> Source:
    return mart_source("mart_equity_by_day", content.narrowing, order="strategy_name, strategy_version, day")


def _index_page(content: SiteContent) -> SitePage:
    overview, strategies = content.overview, _strategies(content)
    best = strategies[0] if strategies else None
    callers = [] if best is None else [row for row in content.callers if _version_of(row) == _version_of(best)]
    drawn = _drawn_curves(content)
    figures: dict[str, Any] = {"equity": equity_figure(drawn)} if drawn else {}
    example = None
    if overview.example:
        example, figures["example"] = _drawn_trade(overview.example, figure_name="example")
    search = overview.search
    pages = {page.job_id for page in content.search_pages}
    return SitePage(
        INDEX,
        INDEX,
        f"Quantbot report, {overview.generated_at:%Y-%m-%d}",
        "site_index.html.j2",
        figures,
        {
            "overview": overview,
            "strategies": strategy_table(strategies[:_OVERVIEW_ROWS]),
            "strategy_total": len(strategies),
            "callers": caller_table(
                callers[:_OVERVIEW_ROWS],
                content.caller_pages,
                source=_callers_source(best),
                with_strategy=False,
            ),
            "best_strategy": "" if best is None else f"{best.strategy} v{best.version}",
            "example": example,
            "example_href": _example_href(content),
            "search": search,
            "search_href": search_path(search.job_id) if search and search.job_id in pages else SEARCHES,
            "equity_words": _equity_words(drawn),
            "equity_sources": (_equity_source(content),),
            "count_sources": (
                Source("ohlcv_candles"),
                Source("mart_trades"),
                Source("alerts", "postgres"),
                Source("calls", "postgres"),
                Source("int_run_results", "postgres"),
                Source("quarantine", "postgres"),
            ),
        },
    )


def _example_href(content: SiteContent) -> str:
    example = content.overview.example
    return run_path(example.run_id) if example and example.run_id in content.run_pages else ""


def _version_of(row: Standing) -> StrategyName:
    return row.strategy, row.version


def _callers_source(row: Standing | None) -> Source:
    filters = () if row is None else (("strategy_name", row.strategy), ("strategy_version", row.version))
    return Source("mart_caller_leaderboard", filters=filters, order="caller_rank")


def _equity_words(curves: Sequence[EquityCurve]) -> str:
    """Return the curves in words, for those who can't see them."""
    said = [
        f"{curve.strategy} v{curve.version} ends at {curve.values[-1]:+.1%} on {curve.days[-1]:%Y-%m-%d}, "
        f"at worst {min(curve.values):+.1%}, at best {max(curve.values):+.1%}"
        for curve in curves
    ]
    sampled = any(curve.is_sampled for curve in curves)
    note = " Drawn are the last days of equal stretches of time, not all days." if sampled else ""
    return f"{'; '.join(said)}.{note}" if said else ""


def _strategies_page(content: SiteContent) -> SitePage:
    curves = _drawn_curves(content)
    chart = {
        "name": "equity",
        "title": "Equity",
        "note": "Realised pnl of all trades closed by the end of each day, per trade.",
        "label": "Realised mean pnl per trade over time, one line per strategy",
        "words": _equity_words(curves),
        "pixels": 0,
        "sources": (_equity_source(content),),
    }
    return _list_page(
        STRATEGIES,
        "Strategies",
        "Ranked by the least mean pnl that is likely: mean less 1.96 standard errors, reckoned from the differences "
        "between tokens. “At least” beside the win rate is the lower end of its 95 % Wilson interval. Below 20 trades "
        "or 5 tokens a row counts as a small sample and ranks after all others.",
        [strategy_table(_strategies(content))],
        empty="No backtest has been completed yet: 'quantbot demo', or 'quantbot backfill --strategy NAME'.",
        figures={"equity": equity_figure(curves)} if curves else {},
        chart=chart if curves else None,
    )


def _list_page(
    path: str,
    heading: str,
    standfirst: str,
    tables: Sequence[Table],
    *,
    empty: str,
    figures: Mapping[str, Any] | None = None,
    chart: Mapping[str, Any] | None = None,
) -> SitePage:
    named = {"heading": heading, "standfirst": standfirst, "tables": tables, "empty": empty, "chart": chart}
    return SitePage(path, path, f"{heading} \N{MIDDLE DOT} Quantbot report", "site_list.html.j2", figures or {}, named)


def _strategy_page(content: SiteContent, row: Standing) -> SitePage:
    name = _version_of(row)
    filters = (("strategy_name", row.strategy), ("strategy_version", row.version))
    callers = [each for each in content.callers if _version_of(each) == name]
    runs = [run for run in content.runs if (run.strategy, run.version) == name]
    trades = content.strategy_trades.get(name, TradeList())
    curve = _curve(content, name)
    results = [trade.pnl for trade in trades.trades if trade.pnl is not None]
    figures: dict[str, Any] = {}
    if curve:
        figures["equity"] = equity_figure([curve])
    if len(results) > 1:
        figures["spread"] = spread_figure(results)
    document = content.strategy_documents.get(name)
    path = strategy_path(name)
    return SitePage(
        path,
        STRATEGIES,
        f"{row.strategy} v{row.version} \N{MIDDLE DOT} Quantbot report",
        "site_strategy.html.j2",
        figures,
        {
            "standing": row,
            "words": f"Rank {row.rank} of {len(content.overview.strategies)} strategy versions.",
            "result": strategy_table([row]),
            "equity_words": _equity_words([curve]) if curve else "",
            "equity_sources": (Source("mart_equity_by_day", filters=filters, order="day"),),
            "exits": exit_table(
                content.exits.get(name, ()), Source("mart_exit_reasons", filters=filters, order="call_count desc")
            ),
            "spread_words": _spread_words(results, trades),
            "callers": caller_table(
                callers[:_STRATEGY_CALLERS],
                content.caller_pages,
                source=_callers_source(row),
                with_strategy=False,
                note=_first_of(_STRATEGY_CALLERS, len(callers), "callers", "the statement below asks for all"),
            ),
            "runs": run_table(
                runs[:_STRATEGY_RUNS],
                content.run_pages,
                source=Source("mart_runs_ranked", filters=filters, order="run_rank"),
                with_strategy=False,
                note=_first_of(_STRATEGY_RUNS, len(runs), "runs", "'quantbot runs --strategy NAME' lists all")
                or _RUN_NOTE,
            ),
            "trades": trade_table(
                trades,
                source=trades_source(content.narrowing, *filters),
                caller_pages=content.caller_pages,
                run_pages=content.run_pages,
            ),
            "document": document,
            "definition": "" if document is None else json.dumps(document.config, indent=2, ensure_ascii=False),
        },
    )


_RUN_NOTE = "Runs without a link have no page; 'quantbot report --run ID' makes one."


def _first_of(shown: int, total: int, what: str, how: str) -> str:
    return f"The first {shown:,} of {total:,} {what}; {how}." if total > shown else ""


def _spread_words(results: Sequence[float], trades: TradeList) -> str:
    if not results:
        return ""
    ordered = sorted(results)
    losers = sum(result <= 0 for result in results) / len(results)
    tenth, median, ninth = (ordered[int(share * (len(ordered) - 1))] for share in (0.1, 0.5, 0.9))
    said = (
        f"Of {len(results):,} trades {losers:.0%} earned nothing; a tenth came out below {tenth:+.1%}, half below "
        f"{median:+.1%}, nine tenths below {ninth:+.1%}. What lies beyond the ends is in the outer bars."
    )
    return f"{said} Of {trades.total:,} calls the latest are drawn." if trades.total > len(trades.trades) else said


def _callers_page(content: SiteContent) -> SitePage:
    note = ""
    if content.caller_total > len(content.caller_pages) and not content.narrowing.caller:
        note = (
            f"The first {len(content.caller_pages)} of {content.caller_total:,} callers have a page; "
            "'quantbot report --caller SOURCE/HANDLE' makes one for any of them."
        )
    drawn = len({(row.strategy, row.version) for row in content.callers}) > 1
    return _list_page(
        CALLERS,
        "Callers",
        "Each caller's calls under each strategy, ranked as strategies are: by the least mean pnl that is likely. "
        "Callers whose calls only lost, or were all skipped, are in the table as well.",
        [
            caller_table(
                content.callers,
                content.caller_pages,
                source=Source("mart_caller_leaderboard", order="strategy_name, strategy_version, caller_rank"),
                note=note,
            )
        ],
        empty="Callers appear once a backtest has looked at their calls.",
        figures={"matrix": matrix_figure(content.callers)} if drawn else {},
        chart={
            "name": "matrix",
            "title": "Callers under strategies",
            "note": f"Mean pnl of a trade, of at most {MATRIX_ROWS} callers by their best rank. Colours end at the "
            "nine tenths of all values that are nearest to zero; cells of few trades say little.",
            "label": "Mean pnl of each caller under each strategy; the table below has the numbers",
            "words": "",
            "pixels": matrix_height(content.callers),
            "sources": (
                mart_source("mart_strategy_caller_matrix", content.narrowing, order="strategy_name, strategy_version"),
            ),
        }
        if drawn
        else None,
    )


def _caller_page(content: SiteContent, name: CallerName) -> SitePage:
    standings = [row for row in content.callers if row.caller_name == name]
    months = content.caller_months.get(name, ())
    trades = content.caller_trades.get(name, TradeList())
    filters = (("caller_source", name[0]), ("caller_handle", name[1]))
    calls = max((row.trade_count + row.skipped_count for row in standings), default=0)
    several = len({month.month for month in months}) > 1
    return SitePage(
        caller_path(name),
        CALLERS,
        f"{name[1]} \N{MIDDLE DOT} Quantbot report",
        "site_caller.html.j2",
        {"months": months_figure(months)} if several else {},
        {
            "caller": name,
            "words": f"{calls:,} calls simulated under {len(standings)} strategy versions.",
            "standings": caller_table(
                standings,
                content.caller_pages,
                source=Source("mart_caller_leaderboard", filters=filters, order="caller_rank"),
                with_caller=False,
            ),
            "months": month_table(
                months, mart_source("mart_caller_months", content.narrowing, *filters, order="month")
            ),
            "months_words": _months_words(months),
            "trades": trade_table(
                trades,
                source=trades_source(content.narrowing, *filters),
                caller_pages=content.caller_pages,
                run_pages=content.run_pages,
                with_strategy=True,
                with_caller=False,
            ),
        },
    )


def _months_words(months: Sequence[CallerMonth]) -> str:
    """Return the drawn months in words, for those who can't see them."""
    traded = [month for month in months if month.mean_pnl is not None]
    if not traded:
        return ""
    best = max(traded, key=lambda month: (month.mean_pnl or 0.0, month.month))
    worst = min(traded, key=lambda month: (month.mean_pnl or 0.0, month.month))
    return (
        f"Best: {best.month} under {best.strategy} with {best.mean_pnl:+.1%} over {best.trade_count} trades; worst: "
        f"{worst.month} under {worst.strategy} with {worst.mean_pnl:+.1%} over {worst.trade_count}. The table has all."
    )


def _runs_page(content: SiteContent) -> SitePage:
    filters = (("strategy_name", content.narrowing.strategy),) if content.narrowing.strategy else ()
    cut = _first_of(len(content.runs), content.run_total, "runs", "'quantbot runs' lists all")
    return _list_page(
        RUNS,
        "Runs",
        "A run is one strategy version on one token's calls of one window. Ranked by the mean as if ten more trades "
        "had come out at zero, so that a run of one lucky trade does not lead.",
        [
            run_table(
                content.runs,
                content.run_pages,
                source=Source("mart_runs_ranked", filters=filters, order="run_rank"),
                note=f"{cut} {_RUN_NOTE}".strip(),
            )
        ],
        empty="No backtest has been completed yet: 'quantbot demo', or 'quantbot backfill --strategy NAME'.",
    )


def _tokens_page(content: SiteContent) -> SitePage:
    return _list_page(
        TOKENS,
        "Tokens",
        "What was earned on each token under each strategy version. Filter by a token here, or on the page of runs "
        "to find the run that draws its trades.",
        [
            token_table(
                content.tokens,
                content.token_total,
                mart_source("mart_token_results", content.narrowing, order="token_rank"),
            )
        ],
        empty="No call has been simulated yet.",
    )


def _searches_page(content: SiteContent) -> SitePage:
    pages = [page.job_id for page in content.search_pages]
    return _list_page(
        SEARCHES,
        "Parameter searches",
        "The best of many trials looks better than it is; each search says whether its winner can be told from luck.",
        [search_table(content.searches, content.search_total, pages)],
        empty="No parameter search has been made yet: 'quantbot optimize --template NAME'.",
    )


def _search_page(search: SearchContent) -> SitePage:
    pictures = draw_search(search)
    return SitePage(
        search_path(search.job_id),
        SEARCHES,
        f"{search.name} \N{MIDDLE DOT} Quantbot report",
        "site_search.html.j2",
        pictures.documents(),
        {
            "search": search,
            "pictures": pictures,
            "search_sources": (
                Source("optimization_jobs", "postgres", (("id", search.job_id),)),
                Source("optimization_trials", "postgres", (("job_id", search.job_id),), "score desc nulls last"),
            ),
        },
    )


def _models_page(content: SiteContent) -> SitePage:
    return SitePage(
        MODELS_PAGE,
        MODELS_PAGE,
        "Models \N{MIDDLE DOT} Quantbot report",
        "site_models.html.j2",
        named={
            "models": content.overview.models,
            "model_limit": MODELS,
            "model_sources": (Source("ml_models", "postgres", order="created_at desc"),),
        },
    )


def _quality_page(content: SiteContent) -> SitePage:
    overview = content.overview
    coverage = overview.coverage
    return SitePage(
        QUALITY,
        QUALITY,
        "Data quality \N{MIDDLE DOT} Quantbot report",
        "site_quality.html.j2",
        {"coverage": coverage_figure(coverage)} if coverage else {},
        {
            "coverage": coverage,
            "coverage_pixels": coverage_height(coverage) if coverage else 0,
            "coverage_words": _coverage_words(coverage),
            "gaps": gap_table(content.gaps, content.gap_total),
            "health": health_table(content.health),
            "problem_count": sum(line.is_problem for line in content.health),
            "qualities": quality_table(content.qualities),
            "failures": failure_table(content.failures),
            "quarantine": quarantine_table(overview.quarantine),
            "has_imports": bool(overview.headline.candles or overview.headline.alerts),
        },
    )


def _coverage_words(coverage: CoverageMap | None) -> str:
    if coverage is None:
        return ""
    known = [share for share in coverage.total if share is not None]
    worst = coverage.tokens[0]
    lowest = min(range(len(coverage.total)), key=lambda k: (coverage.total[k] is None, coverage.total[k] or 0.0))
    return (
        f"Of all {coverage.token_count:,} tokens together {sum(known) / len(known):.0%} of the time is covered in the "
        f"mean of the cells, least in the one from {coverage.first_days[lowest]:%Y-%m-%d}. The token with the least "
        f"is {worst.token} with {worst.coverage:.0%}."
    )


def _about_page(content: SiteContent) -> SitePage:
    bounds = [
        f"Tables show {LISTED_ROWS:,} rows at most, the latest trades or the best-ranked rows, and say of how many; "
        "'quantbot trades', 'quantbot runs', 'quantbot callers' and 'quantbot tokens' list any of them, the statement "
        "under each table asks for all.",
        f"{RUN_PAGES} runs have a page: the best and the latest. 'quantbot report --run ID' makes a page of any other, "
        f"'quantbot trade CALL_ID --strategy NAME' draws any trade. A run's page draws {DRAWN_TRADES} of its trades.",
        f"{CALLER_PAGES} callers have a page, with their latest {CALLER_TRADES} calls; "
        "'quantbot report --caller SOURCE/HANDLE' makes one for any caller.",
        f"The newest {SEARCH_PAGES} parameter searches have a page; 'quantbot trials JOB' shows any.",
        f"{MODELS} models are shown, those in use first; 'quantbot models list' has all.",
    ]
    if not content.narrowing.is_whole:
        bounds.insert(0, f"These pages are narrowed to {content.narrowing.words()}: {NARROWED_HOW}")
    return SitePage(
        ABOUT, ABOUT, "About \N{MIDDLE DOT} Quantbot report", "site_about.html.j2", named={"bounds": bounds}
    )


NARROWED_HOW = (
    "Trades and runs hold nothing else; months are whole. Ranks, leaderboards, equity, exits and tokens are reckoned "
    "over all calls, and the counts, searches, models and data quality are of everything."
)
"""What narrowing does and does not do."""


@dataclass(frozen=True, slots=True)
class _DrawnTrade:
    """One trade on the page of its run."""

    call_id: int
    title: str
    words: str
    label: str
    note: str
    figure_name: str
    pixels: int
    events: Table
    sources: tuple[Source, ...]


def choose_drawn(trades: TradeList) -> list[int]:
    """Return the calls of a run that its page draws: the best, the worst, and those in which most happens."""
    bought = [trade for trade in trades.trades if trade.pnl is not None]
    if not bought:
        return []
    by_result = sorted(bought, key=lambda trade: (trade.pnl or 0.0, trade.call_id))
    busiest = sorted(bought, key=lambda trade: (-trade.action_count, trade.call_id))
    chosen = dict.fromkeys([by_result[-1].call_id, by_result[0].call_id, *(trade.call_id for trade in busiest)])
    wanted = set(list(chosen)[:DRAWN_TRADES])
    return [trade.call_id for trade in bought if trade.call_id in wanted]


def run_page(
    content: SiteContent,
    run: RunLine,
    detail: RunDetail,
    trades: TradeList,
    drawn: Iterable[TradeContent],
    *,
    undrawn: str = "",
) -> SitePage:
    """Return the page of a run.

    Args:
        content: The site that it belongs to.
        run: The run.
        detail: What else is known of it.
        trades: Its calls.
        drawn: Those that are drawn.
        undrawn: Why none can be drawn; empty if they can.
    """
    source = Source("mart_trades", filters=(("simulation_run_id", run.run_id),), order="signal_timestamp")
    charts, figures = [], {}
    for trade in drawn:
        chart, figure = _drawn_trade(trade)
        charts.append(chart)
        figures[chart.figure_name] = figure
    token = f"{run.chain}:{run.token_address}" if run.token_address else "several tokens"
    bought = sum(trade.pnl is not None for trade in trades.trades)
    left_out = ""
    if undrawn:
        left_out = f"Trades are not drawn, because this version can't read the strategy as it was stored: {undrawn}."
    elif bought > len(charts):
        left_out = f"{len(charts)} of {bought} trades are drawn: the best, the worst, and those in which most happens."
    return SitePage(
        run_path(run.run_id),
        RUNS,
        f"Run {run.run_id} \N{MIDDLE DOT} Quantbot report",
        "site_run.html.j2",
        figures,
        {
            "run": run,
            "token": token,
            "words": f"{trades.total:,} calls, {run.trade_count:,} trades.",
            "result": run_table(
                [run],
                (),
                source=Source("mart_runs_ranked", filters=(("simulation_run_id", run.run_id),)),
                with_run=False,
            ),
            "run_facts": [
                ("Engine", f"version {run.engine_version}"),
                ("Sharpe ratio", _NO_VALUE if run.sharpe_ratio is None else f"{run.sharpe_ratio:.2f}"),
                ("Attempt", str(detail.attempt)),
                ("Configuration", detail.config_hash[:16]),
                ("Events", detail.events_digest[:16]),
                ("Candles and calls read", str(detail.selection.get("fingerprint", _NO_VALUE))[:16]),
            ],
            "quality_words": _quality_words(detail),
            "quality_facts": _quality_facts(detail.quality),
            "charts": charts,
            "left_out": left_out,
            "trades": trade_table(
                trades,
                source=source,
                caller_pages=content.caller_pages,
                run_pages=(),
                with_run=False,
                with_token=not run.token_address,
                drawn=None if undrawn else [chart.call_id for chart in charts],
            ),
        },
    )


def _drawn_trade(trade: TradeContent, *, figure_name: str = "") -> tuple[_DrawnTrade, dict[str, Any]]:
    figure = trade_figure(trade, most_candles=DRAWN_CANDLES, has_title=False)
    drawing = plan_drawing(trade, DRAWN_CANDLES)
    notes = [f"{note[:1].upper()}{note[1:]}." for note in drawing_notes(trade, drawing)]
    call = trade.call
    drawn = _DrawnTrade(
        call_id=call.call_id,
        title=f"Call {call.call_id} by {call.caller_handle or 'a caller not published yet'}",
        words=describe_trade(trade),
        label=f"Chart of the trade on call {call.call_id}; the table below has its events",
        note=" ".join([*notes, "Events are numbered as in the table."]),
        figure_name=figure_name or f"trade-{call.call_id}",
        pixels=figure["layout"]["height"],
        events=_event_table(trade),
        sources=(Source("ohlcv_candles", filters=(("chain", call.chain), ("token_address", call.token_address))),),
    )
    return drawn, figure


def _event_table(trade: TradeContent) -> Table:
    rows = event_rows(trade)
    shown = rows[:_EVENT_ROWS]
    return Table(
        f"events-{trade.call.call_id}",
        f"Events of the trade on call {trade.call.call_id}",
        (
            Column("#", "whole", "Number of the event, as on the chart"),
            Column("Time (UTC)", "instant"),
            Column("Event", is_name=True),
            Column("Price", "price"),
            Column("Size", "share", "Share of the trade's capital for a buy, of what was bought for a sell"),
            Column("Still open", "share"),
            Column("Stop", "price", "In force after the event"),
            Column("Realised pnl", "percent"),
            Column("Why"),
        ),
        tuple(
            (row.seq, row.at, row.kind, row.price, row.size, row.remaining, row.stop, row.pnl_so_far, row.why)
            for row in shown
        ),
        (
            Source(
                "stg_events",
                filters=(("simulation_run_id", trade.run_id), ("call_id", trade.call.call_id)),
                order="seq",
            ),
        ),
        _first_of(_EVENT_ROWS, len(rows), "events", "the statement below asks for all"),
    )


def _quality_words(detail: RunDetail) -> str:
    reasons = detail.quality.get("reasons") or []
    if reasons:
        return f"{'; '.join(str(reason) for reason in reasons)}."
    return "nothing about them is worth a remark." if detail.quality else "they were not judged."


def _quality_facts(quality: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    if isinstance(coverage := quality.get("coverage"), int | float):
        found.append(("Covered", f"{coverage:.1%}"))
    for key, name in (
        ("candle_count", "Candles"),
        ("gap_count", "Gaps"),
        ("trades_over_gaps", "Trades over gaps"),
        ("zero_volume_count", "Without volume"),
        ("distorted_count", "Flagged"),
    ):
        if isinstance(value := quality.get(key), int):
            found.append((name, f"{value:,}"))
    return found


@lru_cache(maxsize=1)
def pages_fingerprint() -> str:
    """Return a digest of everything that pages of runs are made by: pages that another version made are made anew."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), *(folder / "template").iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
