"""The report's pages that are about one strategy version, caller, token or parameter search."""

import json
from collections.abc import Sequence
from typing import Any

from quantbot_pipeline.report.content import EquityCurve, Standing
from quantbot_pipeline.report.figures import equity_figure, months_figure, price_figure, spread_figure
from quantbot_pipeline.report.page import format_span
from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.search_pictures import draw_search
from quantbot_pipeline.report.site_collect import STRATEGY_RUNS, TOKEN_RUNS
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    CallerName,
    SiteContent,
    StrategyName,
    TokenName,
    TokenPrices,
    TradeList,
)
from quantbot_pipeline.report.site_page import RUN_NOTE, SitePage, counted, first_of, titled, version_of
from quantbot_pipeline.report.site_paths import (
    CALLERS,
    SEARCHES,
    STRATEGIES,
    TOKENS,
    caller_path,
    search_path,
    strategy_path,
    token_path,
)
from quantbot_pipeline.report.site_sources import (
    callers_source,
    mart_source,
    months_source,
    runs_source,
    trades_source,
)
from quantbot_pipeline.report.site_tables import (
    caller_table,
    exit_table,
    month_table,
    run_table,
    strategy_table,
    token_table,
    trade_table,
)
from quantbot_pipeline.report.tables import Source

_STRATEGY_CALLERS = 50


def strategy_page(content: SiteContent, row: Standing) -> SitePage:
    """Return the page of a strategy version."""
    name = version_of(row)
    filters = (("strategy_name", row.strategy), ("strategy_version", row.version))
    callers = [each for each in content.callers if version_of(each) == name]
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
        titled(f"{row.strategy} v{row.version}"),
        "site_strategy.html.j2",
        figures,
        {
            "standing": row,
            "words": f"Rank {row.rank} of {len(content.overview.strategies)} strategy versions.",
            "result": strategy_table(
                [row], Source("mart_strategy_leaderboard", filters=filters, order="strategy_rank")
            ),
            "equity_words": equity_words([curve]) if curve else "",
            "equity_sources": (Source("mart_equity_by_day", filters=filters, order="day"),),
            "exits": exit_table(
                content.exits.get(name, ()), Source("mart_exit_reasons", filters=filters, order="call_count desc")
            ),
            "spread_words": _spread_words(results, trades),
            "callers": caller_table(
                callers[:_STRATEGY_CALLERS],
                content.caller_pages,
                source=callers_source(content.narrowing, *filters, order="caller_rank"),
                with_strategy=False,
                note=first_of(
                    min(len(callers), _STRATEGY_CALLERS),
                    len(callers) if content.narrowing.caller else content.version_callers.get(name, 0),
                    "callers",
                    "the statement below asks for all",
                ),
            ),
            "runs": run_table(
                runs[:STRATEGY_RUNS],
                content.run_pages,
                source=runs_source(content.narrowing, *filters),
                with_strategy=False,
                note=first_of(
                    min(len(runs), STRATEGY_RUNS),
                    content.version_runs.get(name, 0),
                    "runs",
                    "'quantbot runs --strategy NAME' lists all",
                )
                or RUN_NOTE,
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


def _curve(content: SiteContent, name: StrategyName) -> EquityCurve | None:
    return next((curve for curve in content.overview.equity if (curve.strategy, curve.version) == name), None)


def equity_words(curves: Sequence[EquityCurve]) -> str:
    """Return equity curves in words, for those who can't see them."""
    said = [
        f"{curve.strategy} v{curve.version} ends at {curve.values[-1]:+.1%} on {curve.days[-1]:%Y-%m-%d}, "
        f"at worst {min(curve.values):+.1%}, at best {max(curve.values):+.1%}"
        for curve in curves
    ]
    sampled = any(curve.is_sampled for curve in curves)
    note = " Drawn are the last days of equal stretches of time, not all days." if sampled else ""
    return f"{'; '.join(said)}.{note}" if said else ""


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


def caller_page(content: SiteContent, name: CallerName) -> SitePage:
    """Return the page of a caller."""
    standings = [row for row in content.callers if row.caller_name == name]
    months = content.caller_months.get(name, ())
    trades = content.caller_trades.get(name, TradeList())
    filters = (("caller_source", name[0]), ("caller_handle", name[1]))
    calls = max((row.trade_count + row.skipped_count for row in standings), default=0)
    several = len({month.month for month in months}) > 1
    return SitePage(
        caller_path(name),
        CALLERS,
        titled(name[1]),
        "site_caller.html.j2",
        {"months": months_figure(months)} if several else {},
        {
            "caller": name,
            "words": f"{counted(calls, 'call')} simulated under {counted(len(standings), 'strategy version')}.",
            "standings": caller_table(
                standings,
                content.caller_pages,
                source=callers_source(content.narrowing, *filters, order="caller_rank"),
                with_caller=False,
            ),
            "months": month_table(months, months_source(content.narrowing, *filters)),
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


def token_page(content: SiteContent, name: TokenName) -> SitePage:
    """Return the page of a token: its price with every call on it, and what became of these under each strategy."""
    chain, address = name
    filters = (("chain", chain), ("token_address", address))
    lines = [line for line in content.tokens if (line.chain, line.token_address) == name]
    runs = [run for run in content.runs if (run.chain, run.token_address) == name]
    trades = content.token_trades.get(name, TradeList())
    prices = content.token_prices.get(name)
    symbol = next((line.symbol for line in lines if line.symbol), "")
    callers = {trade.caller for trade in trades.trades}
    calls = {trade.call_id for trade in trades.trades}
    return SitePage(
        token_path(name),
        TOKENS,
        titled(symbol or address),
        "site_token.html.j2",
        {"price": price_figure(prices, trades.trades)} if prices else {},
        {
            "symbol": symbol,
            "token": f"{chain}:{address}",
            "words": f"{counted(len(calls), 'call')} of {counted(len(callers), 'caller')}, simulated under "
            f"{counted(len(lines), 'strategy version')}.",
            "price_words": "" if prices is None else _price_words(prices),
            "price_sources": (Source("ohlcv_candles", filters=filters, order="timestamp"),),
            "results": token_table(
                lines,
                mart_source("mart_token_results", content.narrowing, *filters, order="total_pnl desc"),
                with_token=False,
            ),
            "trades": trade_table(
                trades,
                source=trades_source(content.narrowing, *filters),
                caller_pages=content.caller_pages,
                run_pages=content.run_pages,
                with_strategy=True,
                with_token=False,
            ),
            "runs": run_table(
                runs[:TOKEN_RUNS],
                content.run_pages,
                source=runs_source(content.narrowing, *filters),
                note=first_of(
                    min(len(runs), TOKEN_RUNS),
                    content.token_runs.get(name, 0),
                    "runs",
                    "'quantbot runs --token CHAIN:ADDRESS' lists all",
                )
                or RUN_NOTE,
                with_token=False,
            ),
        },
    )


def _price_words(prices: TokenPrices) -> str:
    """Return the drawn price in words, for those who can't see it."""
    lowest, highest = min(prices.close), max(prices.close)
    at = dict(zip(prices.close, prices.at, strict=True))
    return (
        f"From {prices.at[0]:%Y-%m-%d %H:%M} to {prices.at[-1]:%Y-%m-%d %H:%M} UTC the price went from "
        f"{prices.close[0]:.6g} to {prices.close[-1]:.6g}; lowest {lowest:.6g} on {at[lowest]:%Y-%m-%d}, highest "
        f"{highest:.6g} on {at[highest]:%Y-%m-%d}. Drawn is the last close of every "
        f"{format_span(prices.stretch_minutes)}; single trades are drawn whole on the pages of runs."
    )


def search_page(search: SearchContent) -> SitePage:
    """Return the page of a parameter search."""
    pictures = draw_search(search)
    return SitePage(
        search_path(search.job_id),
        SEARCHES,
        titled(search.name),
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
