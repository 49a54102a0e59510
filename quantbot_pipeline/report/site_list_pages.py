"""The report's pages that are about everything: the overview, the lists, models, data quality, what is left out."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from quantbot_pipeline.report.collect import MODELS
from quantbot_pipeline.report.content import CoverageMap, EquityCurve
from quantbot_pipeline.report.figures import (
    CURVE_COLOURS,
    MATRIX_ROWS,
    coverage_figure,
    coverage_height,
    equity_figure,
    matrix_figure,
    matrix_height,
)
from quantbot_pipeline.report.site_collect import (
    CALLER_PAGES,
    LISTED_ROWS,
    PAGE_TRADES,
    RUN_PAGES,
    SEARCH_PAGES,
    STRATEGY_PAGES,
    TOKEN_PAGES,
)
from quantbot_pipeline.report.site_content import SiteContent
from quantbot_pipeline.report.site_page import (
    NARROWED_HOW,
    RUN_NOTE,
    SitePage,
    first_of,
    list_page,
    shown_strategies,
    titled,
    version_of,
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
    run_path,
    search_path,
)
from quantbot_pipeline.report.site_paths import (
    MODELS as MODELS_PAGE,
)
from quantbot_pipeline.report.site_quality_tables import (
    failure_table,
    gap_table,
    health_table,
    quality_table,
    quarantine_table,
)
from quantbot_pipeline.report.site_run_page import DRAWN_TRADES, draw_trade
from quantbot_pipeline.report.site_sources import callers_source, mart_source, runs_source
from quantbot_pipeline.report.site_subject_pages import equity_words
from quantbot_pipeline.report.site_tables import caller_table, run_table, search_table, strategy_table, token_table
from quantbot_pipeline.report.tables import Source

_OVERVIEW_ROWS = 10


def index_page(content: SiteContent) -> SitePage:
    """Return the overview."""
    overview, strategies = content.overview, shown_strategies(content)
    best = strategies[0] if strategies else None
    callers = [] if best is None else [row for row in content.callers if version_of(row) == version_of(best)]
    drawn = _drawn_curves(content)
    figures: dict[str, Any] = {"equity": equity_figure(drawn)} if drawn else {}
    example = None
    if overview.example:
        example, figures["example"] = draw_trade(overview.example, figure_name="example")
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
            "strategies": strategy_table(strategies[:_OVERVIEW_ROWS], _strategies_source(content)),
            "strategy_total": len(strategies),
            "callers": caller_table(
                callers[:_OVERVIEW_ROWS],
                content.caller_pages,
                source=callers_source(
                    content.narrowing,
                    *(() if best is None else (("strategy_name", best.strategy), ("strategy_version", best.version))),
                    order="caller_rank",
                ),
                with_strategy=False,
            ),
            "best_strategy": "" if best is None else f"{best.strategy} v{best.version}",
            "example": example,
            "example_href": _example_href(content),
            "search": search,
            "search_href": search_path(search.job_id) if search and search.job_id in pages else SEARCHES,
            "equity_note": _curves_note(content, drawn),
            "equity_words": equity_words(drawn),
            "equity_sources": (_equity_source(content),),
            "count_sources": (
                Source("ohlcv_candles"),
                Source("mart_trades"),
                Source("alerts", "postgres"),
                Source("calls", "postgres", (("is_active", "true"),)),
                Source("int_run_results", "postgres"),
                Source("quarantine", "postgres"),
            ),
        },
    )


def _example_href(content: SiteContent) -> str:
    example = content.overview.example
    return run_path(example.run_id) if example and example.run_id in content.run_pages else ""


def _equity_source(content: SiteContent) -> Source:
    return mart_source("mart_equity_by_day", content.narrowing, order="strategy_name, strategy_version, day")


def _strategies_source(content: SiteContent) -> Source:
    return mart_source("mart_strategy_leaderboard", content.narrowing, order="strategy_rank")


def _curves_note(content: SiteContent, drawn: Sequence[EquityCurve]) -> str:
    """Return how many strategies are drawn; empty where all are."""
    total = len(shown_strategies(content))
    return f"Drawn are the {len(drawn)} best-ranked of {total:,} strategy versions." if len(drawn) < total else ""


def _drawn_curves(content: SiteContent) -> tuple[EquityCurve, ...]:
    """Return the curves of the best-ranked strategies, as many as there are colours that can be told apart."""
    has_strategy = content.narrowing.has_strategy
    curves = (curve for curve in content.overview.equity if has_strategy(curve.strategy, curve.version))
    return tuple(islice(curves, len(CURVE_COLOURS)))


def strategies_page(content: SiteContent) -> SitePage:
    """Return the strategy leaderboard."""
    curves = _drawn_curves(content)
    chart = {
        "name": "equity",
        "title": "Equity",
        "note": "Realised pnl of all trades closed by the end of each day, per trade. "
        f"{_curves_note(content, curves)}".strip(),
        "label": "Realised mean pnl per trade over time, one line per strategy",
        "words": equity_words(curves),
        "pixels": 0,
        "sources": (_equity_source(content),),
    }
    return list_page(
        STRATEGIES,
        "Strategies",
        "Ranked by the least mean pnl that is likely: mean less 1.96 standard errors, reckoned from the differences "
        "between tokens. “At least” beside the win rate is the lower end of its 95 % Wilson interval. Below 20 trades "
        "or 5 tokens a row counts as a small sample and ranks after all others.",
        [
            strategy_table(
                shown_strategies(content)[:LISTED_ROWS],
                _strategies_source(content),
                first_of(
                    STRATEGY_PAGES,
                    len(shown_strategies(content)),
                    "strategy versions have a page",
                    "'quantbot report --strategy NAME' makes those of any",
                ),
            )
        ],
        empty="No backtest has been completed yet: 'quantbot demo', or 'quantbot backfill --strategies NAME'.",
        figures={"equity": equity_figure(curves)} if curves else {},
        chart=chart if curves else None,
    )


def callers_page(content: SiteContent) -> SitePage:
    """Return the caller leaderboards."""
    notes = []
    rows_total = sum(content.version_callers.values())
    if not content.narrowing.caller:
        notes = [
            first_of(len(content.callers), rows_total, "rows", "the statement below asks for all"),
            first_of(
                len(content.caller_pages),
                content.caller_total,
                "callers have a page",
                "'quantbot report --caller SOURCE/HANDLE' makes one for any of them",
            ),
        ]
    drawn = len({(row.strategy, row.version) for row in content.callers}) > 1
    return list_page(
        CALLERS,
        "Callers",
        "Each caller's calls under each strategy, ranked as strategies are: by the least mean pnl that is likely. "
        "Callers whose calls only lost, or were all skipped, are in the table as well.",
        [
            caller_table(
                content.callers,
                content.caller_pages,
                source=callers_source(content.narrowing, order="strategy_name, strategy_version, caller_rank"),
                note=" ".join(filter(None, notes)),
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
                callers_source(
                    content.narrowing,
                    relation="mart_strategy_caller_matrix",
                    order="strategy_name, strategy_version",
                ),
            ),
        }
        if drawn
        else None,
    )


def runs_page(content: SiteContent) -> SitePage:
    """Return the list of runs."""
    runs = content.runs[:LISTED_ROWS]
    cut = first_of(len(runs), content.run_total, "runs", "'quantbot runs' lists all")
    return list_page(
        RUNS,
        "Runs",
        "A run is one strategy version on one token's calls of one window. Ranked by the mean as if ten more trades "
        "had come out at zero, so that a run of one lucky trade does not lead.",
        [
            run_table(
                runs,
                content.run_pages,
                source=runs_source(content.narrowing),
                note=f"{cut} {RUN_NOTE}".strip(),
            )
        ],
        empty="No backtest has been completed yet: 'quantbot demo', or 'quantbot backfill --strategies NAME'.",
    )


def tokens_page(content: SiteContent) -> SitePage:
    """Return results by token."""
    tokens = content.tokens[:LISTED_ROWS]
    notes = [
        first_of(len(tokens), content.token_total, "rows by what they brought or cost", "'quantbot tokens' lists all"),
    ]
    if len(content.token_pages) < content.token_count:
        notes.append(
            f"{len(content.token_pages)} of {content.token_count:,} tokens have a page, of those that brought or cost "
            "most; 'quantbot trades --token ADDRESS' lists the calls on any."
        )
    return list_page(
        TOKENS,
        "Tokens",
        "What was earned on each token under each strategy version. A token's page has its price with all calls on it.",
        [
            token_table(
                tokens,
                mart_source("mart_token_results", content.narrowing, order="abs(total_pnl) desc"),
                " ".join(filter(None, notes)),
            )
        ],
        empty="No call has been simulated yet.",
    )


def searches_page(content: SiteContent) -> SitePage:
    """Return the list of parameter searches."""
    pages = [page.job_id for page in content.search_pages]
    return list_page(
        SEARCHES,
        "Parameter searches",
        "The best of many trials looks better than it is; each search says whether its winner can be told from luck.",
        [search_table(content.searches, content.search_total, pages)],
        empty="No parameter search has been made yet: 'quantbot optimize --template NAME'.",
    )


def models_page(content: SiteContent) -> SitePage:
    """Return models beside their baselines."""
    return SitePage(
        MODELS_PAGE,
        MODELS_PAGE,
        titled("Models"),
        "site_models.html.j2",
        named={
            "models": content.overview.models,
            "model_limit": MODELS,
            "model_sources": (Source("ml_models", "postgres", order="created_at desc"),),
        },
    )


def quality_page(content: SiteContent) -> SitePage:
    """Return what the numbers of the other pages rest on."""
    overview = content.overview
    coverage = overview.coverage
    return SitePage(
        QUALITY,
        QUALITY,
        titled("Data quality"),
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


def about_page(content: SiteContent) -> SitePage:
    """Return what is left out, and what no page can know."""
    bounds = [
        f"Tables show {LISTED_ROWS:,} rows at most, the latest trades or the best-ranked rows, and say of how many; "
        "'quantbot trades', 'quantbot runs', 'quantbot callers' and 'quantbot tokens' list any of them, the statement "
        "under each table asks for all.",
        f"{RUN_PAGES} runs have a page: the best and the latest. 'quantbot report --run ID' makes a page of any other, "
        f"'quantbot trade CALL_ID --strategy NAME' draws any trade. A run's page draws {DRAWN_TRADES} of its trades.",
        f"{CALLER_PAGES} callers have a page, with their latest {PAGE_TRADES} calls; "
        "'quantbot report --caller SOURCE/HANDLE' makes one for any caller.",
        f"{TOKEN_PAGES} tokens have a page, those that brought or cost most, with the latest {PAGE_TRADES} calls on "
        "them; 'quantbot trades --token ADDRESS' lists those on any token.",
        f"{STRATEGY_PAGES} strategy versions have a page, the best-ranked; 'quantbot report --strategy NAME' makes "
        "those of any.",
        f"The newest {SEARCH_PAGES} parameter searches have a page; 'quantbot trials JOB' shows any.",
        f"{MODELS} models are shown, those in use first; 'quantbot models list' has all.",
    ]
    if not content.narrowing.is_whole:
        bounds.insert(0, f"These pages are narrowed to {content.narrowing.words()}: {NARROWED_HOW}")
    return SitePage(ABOUT, ABOUT, titled("About"), "site_about.html.j2", named={"bounds": bounds})
