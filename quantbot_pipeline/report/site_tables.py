"""The report's tables: which columns, what they mean, and which view they are read from."""

import shlex
from collections.abc import Collection, Sequence

from quantbot_pipeline.report.content import Standing
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    CallerName,
    ExitLine,
    RunLine,
    SearchLine,
    TokenLine,
    TradeLine,
    TradeList,
)
from quantbot_pipeline.report.site_paths import caller_path, run_path, search_path, strategy_path, token_path
from quantbot_pipeline.report.tables import Column, Interval, Link, Source, Table

_SMALL_SAMPLE = "small sample"

_AT_LEAST_MEAN = "Mean less 1.96 standard errors, reckoned from the differences between tokens"
_AT_LEAST_SHARE = "Lower end of the 95 % Wilson interval"
_SUM = "In capitals of one trade: +2.50 means that all trades together earned two and a half times what one was given"
QUALITY = "What the candles were like that the run read: good, gaps, stale, sparse or unknown"

_RESULT_COLUMNS = (
    Column("Trades", "whole"),
    Column("Mean pnl", "percent", "Per trade, after fees and slippage, of the capital that the trade was given"),
    Column("at least", "percent", _AT_LEAST_MEAN),
    Column("Mean, 95 %", "interval", "The mean as a point, its interval as a line, zero as the upright"),
    Column("Median", "percent"),
    Column("Win rate", "share", "Trades that earned something"),
    Column("at least", "share", _AT_LEAST_SHARE),
    Column("Sum", "multiple", _SUM),
    Column("Tokens", "whole"),
    Column("Skipped", "whole", "Calls that never bought"),
    Column("Good data", "share", "Trades of runs whose candles were judged good, of all trades"),
)


def strategy_link(name: str, version: str, *, flag: str = "") -> Link:
    """Return a strategy version's name, which leads to its page."""
    return Link(name, strategy_path((name, version)), f"v{version}", flag)


def caller_link(name: CallerName, pages: Collection[CallerName], *, flag: str = "") -> Link:
    """Return a caller's name, which leads to the caller's page if there is one."""
    if not name[1]:
        return Link("(not published yet)", flag=flag)
    return Link(name[1], caller_path(name) if name in pages else "", name[0], flag)


def run_link(run_id: int, pages: Collection[int]) -> Link:
    """Return a run's number, which leads to its page if there is one."""
    return Link(str(run_id), run_path(run_id) if run_id in pages else "")


def strategy_table(standings: Sequence[Standing], source: Source, note: str = "") -> Table:
    """Return the strategy leaderboard."""
    return Table(
        "strategies",
        "Strategy leaderboard",
        (Column("#", "whole", "Rank"), Column("Strategy", is_name=True), *_RESULT_COLUMNS),
        tuple(
            (row.rank, strategy_link(row.strategy, row.version, flag=_flag(row)), *_results(row)) for row in standings
        ),
        (source,),
        note,
    )


def caller_table(
    standings: Sequence[Standing],
    pages: Collection[CallerName],
    *,
    source: Source,
    note: str = "",
    with_strategy: bool = True,
    with_caller: bool = True,
    name: str = "callers",
) -> Table:
    """Return standings of callers under strategy versions."""
    columns = [Column("#", "whole", "Rank among the callers under the strategy")]
    if with_caller:
        columns.append(Column("Caller", is_name=True))
    if with_strategy:
        columns.append(Column("Strategy", is_name=not with_caller))
    rows = []
    for row in standings:
        flag = _flag(row)
        cells: list[object] = [row.rank]
        if with_caller:
            cells.append(caller_link(row.caller_name or ("", ""), pages, flag=flag))
        if with_strategy:
            cells.append(strategy_link(row.strategy, row.version, flag="" if with_caller else flag))
        rows.append((*cells, *_results(row)))
    return Table(name, "Caller leaderboard", (*columns, *_RESULT_COLUMNS), tuple(rows), (source,), note)


def _flag(row: Standing) -> str:
    return _SMALL_SAMPLE if row.is_small_sample else ""


def _results(row: Standing) -> tuple[object, ...]:
    return (
        row.trade_count,
        row.mean_pnl,
        row.mean_pnl_lower,
        Interval(row.mean_pnl, row.mean_pnl_lower, row.is_small_sample),
        row.median_pnl,
        row.win_rate,
        row.win_rate_lower,
        row.total_pnl,
        row.token_count,
        row.skipped_count,
        row.good_data_trade_count / row.trade_count if row.trade_count else None,
    )


def trade_table(
    found: TradeList,
    *,
    source: Source,
    caller_pages: Collection[CallerName],
    run_pages: Collection[int],
    with_strategy: bool = False,
    with_caller: bool = True,
    with_run: bool = True,
    with_token: bool = True,
    drawn: Collection[int] | None = (),
) -> Table:
    """Return trades, and calls that never bought, in the order in which they were collected.

    Args:
        found: The trades.
        source: Where they come from.
        caller_pages: Callers that have a page.
        run_pages: Runs that have a page.
        with_strategy: Whether trades are of several strategies.
        with_caller: Whether they are of several callers.
        with_run: Whether they are of several runs.
        with_token: Whether they are on several tokens.
        drawn: Calls whose trades the same page draws, in a section `trade-<call id>`; None if nothing can draw them.
    """
    columns = [Column("Call", "moment", "When the call was made, UTC", is_name=True)]
    if with_token:
        columns.append(Column("Token"))
    if with_caller:
        columns.append(Column("Caller"))
    if with_strategy:
        columns.append(Column("Strategy"))
    columns += [
        Column("Entered", "moment", "First buy, UTC"),
        Column("Held", "span", "From the first buy to the last sell"),
        Column("Ended by"),
        Column("Pnl", "percent", "Of the trade's capital, after fees and slippage"),
        Column("Candles", "quality", QUALITY),
    ]
    if with_run:
        columns.append(Column("Run"))
    columns.append(Column("Call id", "code", "Leads to the chart where this page draws it; else for 'quantbot trade'"))
    rows = []
    for trade in found.trades:
        cells: list[object] = [trade.signal_at]
        if with_token:
            cells.append(token_link(trade.chain, trade.token_address, trade.symbol))
        if with_caller:
            cells.append(caller_link(trade.caller, caller_pages))
        if with_strategy:
            cells.append(strategy_link(trade.strategy, trade.version))
        cells += [
            trade.entered_at,
            trade.holding_minutes,
            _ended(trade),
            trade.pnl,
            trade.data_quality,
        ]
        if with_run:
            cells.append(run_link(trade.run_id, run_pages))
        cells.append(_call_link(trade, drawn))
        rows.append(tuple(cells))
    cut = ""
    if found.total > len(found.trades):
        cut = (
            f"The latest {len(found.trades):,} of {found.total:,} calls; the statement below asks for all, "
            "'quantbot trades' lists them in a terminal."
        )
    if drawn is not None and any(trade.call_id not in drawn for trade in found.trades):
        last = found.trades[-1]
        strategy = "NAME" if with_strategy else shlex.quote(last.strategy)
        which = "a call whose id leads nowhere" if drawn else "any of them"
        cut = f"{cut} 'quantbot trade CALL_ID --strategy {strategy}' draws {which}.".lstrip()
    return Table("trades", "Trades", tuple(columns), tuple(rows), (source,), cut)


def _call_link(trade: TradeLine, drawn: Collection[int] | None) -> Link:
    call_id = str(trade.call_id)
    if drawn is None:
        return Link(call_id)
    if trade.call_id in drawn:
        return Link(call_id, f"#trade-{call_id}", tip="To the chart of this trade")
    return Link(call_id, tip=f"quantbot trade {call_id} --strategy {shlex.quote(trade.strategy)}")


def _ended(trade: TradeLine) -> str:
    event = "skipped" if trade.pnl is None else trade.exit_event or "still open"
    return _with_reason(event, trade.end_reason)


def _with_reason(event: str, reason: str) -> str:
    """Return how a trade ended, with the reason where it says more than the event."""
    said = event if reason in ("", event) else f"{event}, {reason}"
    return said.replace("_", " ")


def token_link(chain: str, address: str, symbol: str = "") -> Link:
    """Return a token's symbol, or its address where it has none, which leads to its page."""
    return Link(
        symbol or address,
        token_path((chain, address)),
        detail=f"{chain}:{address}" if symbol else chain,
        is_address=not symbol,
    )


def run_table(
    runs: Sequence[RunLine],
    pages: Collection[int],
    *,
    source: Source,
    note: str = "",
    with_strategy: bool = True,
    with_run: bool = True,
    with_token: bool = True,
) -> Table:
    """Return runs, best first."""
    columns = [Column("#", "whole", "Rank by the mean as if ten more trades had come out at zero")]
    if with_run:
        columns.append(Column("Run", is_name=True))
    if with_token:
        columns.append(Column("Token", is_name=not with_run))
    if with_strategy:
        columns.append(Column("Strategy"))
    columns += [
        Column("From", "day", "First day of the window, UTC"),
        Column("until", "day", "The day on which the window ends"),
        Column("Trades", "whole"),
        Column("Mean pnl", "percent"),
        Column("Win rate", "share"),
        Column("Sum", "multiple", _SUM),
        Column("Max drawdown", "share", "Of the run's equity, from its highest point"),
        Column("Candles", "quality", QUALITY),
    ]
    rows = []
    for run in runs:
        cells: list[object] = [run.rank]
        if with_run:
            flag = "small" if run.is_small_sample else ""
            cells.append(Link(str(run.run_id), run_path(run.run_id) if run.run_id in pages else "", flag=flag))
        if with_token:
            cells.append(token_link(run.chain, run.token_address) if run.token_address else Link("several"))
        if with_strategy:
            cells.append(strategy_link(run.strategy, run.version))
        cells += [
            run.window_start,
            run.window_end,
            run.trade_count,
            run.mean_pnl,
            run.win_rate,
            run.total_pnl,
            run.max_drawdown,
            run.data_quality,
        ]
        rows.append(tuple(cells))
    return Table("runs", "Runs", tuple(columns), tuple(rows), (source,), note)


def exit_table(exits: Sequence[ExitLine], source: Source) -> Table:
    """Return how calls under a strategy version ended."""
    return Table(
        "exits",
        "How trades ended, and why calls were skipped",
        (
            Column("Ended by", is_name=True),
            Column("Calls", "whole"),
            Column("Share", "share", "Of all calls"),
            Column("Won", "share", "Trades that earned something"),
            Column("Mean pnl", "percent"),
            Column("Median", "percent"),
            Column("Sum", "multiple", _SUM),
            Column("Held", "span", "In the mean, from the first buy to the last sell"),
        ),
        tuple(
            (
                _with_reason("skipped" if line.outcome == "skipped" else line.exit_event, line.exit_reason),
                line.call_count,
                line.share_of_calls,
                line.win_rate,
                line.mean_pnl,
                line.median_pnl,
                line.total_pnl if line.outcome != "skipped" else None,
                line.mean_holding_minutes,
            )
            for line in exits
        ),
        (source,),
    )


def month_table(months: Sequence[CallerMonth], source: Source) -> Table:
    """Return a caller's results by month."""
    return Table(
        "months",
        "Results by month of the call",
        (
            Column("Month", is_name=True),
            Column("Strategy"),
            Column("Trades", "whole"),
            Column("Mean pnl", "percent"),
            Column("at least", "percent", _AT_LEAST_MEAN),
            Column("Win rate", "share"),
            Column("Sum", "multiple", _SUM),
            Column("Skipped", "whole"),
        ),
        tuple(
            (
                line.month,
                strategy_link(line.strategy, line.version, flag="small" if line.is_small_sample else ""),
                line.trade_count,
                line.mean_pnl,
                line.mean_pnl_lower,
                line.win_rate,
                line.total_pnl,
                line.skipped_count,
            )
            for line in months
        ),
        (source,),
    )


def token_table(tokens: Sequence[TokenLine], source: Source, note: str = "", *, with_token: bool = True) -> Table:
    """Return results by token under each strategy version."""
    name = (Column("Token", is_name=True), Column("Strategy")) if with_token else (Column("Strategy", is_name=True),)
    return Table(
        "tokens",
        "Results by token" if with_token else "Results by strategy",
        (
            Column("#", "whole", "Rank under the strategy, by what the token brought"),
            *name,
            Column("Trades", "whole"),
            Column("Mean pnl", "percent"),
            Column("Median", "percent"),
            Column("Win rate", "share"),
            Column("Sum", "multiple", _SUM),
            Column("Callers", "whole", "Who called it and led to a trade"),
            Column("Skipped", "whole", "Calls that never bought"),
        ),
        tuple(
            (
                line.rank,
                *((token_link(line.chain, line.token_address, line.symbol),) if with_token else ()),
                strategy_link(line.strategy, line.version),
                line.trade_count,
                line.mean_pnl,
                line.median_pnl,
                line.win_rate,
                line.total_pnl,
                line.caller_count,
                line.skipped_count,
            )
            for line in tokens
        ),
        (source,),
        note,
    )


def search_table(searches: Sequence[SearchLine], total: int, pages: Collection[int]) -> Table:
    """Return parameter searches, the newest first."""
    note = ""
    if len(pages) < total:
        note = (
            f"The newest {len(pages)} of {total:,} searches have a page; 'quantbot trials JOB' shows any of them, "
            "'quantbot trials JOB --export-study URL' hands one to Optuna's dashboard."
        )
    return Table(
        "searches",
        "Parameter searches",
        (
            Column("Search", is_name=True),
            Column("Over"),
            Column("Improves", "code"),
            Column("Status"),
            Column("Is the winner luck?"),
            Column("Trials", "whole"),
            Column("Begun", "moment", "UTC"),
            Column("Completed", "moment", "UTC"),
        ),
        tuple(
            (
                Link(line.name, search_path(line.job_id) if line.job_id in pages else "", f"number {line.job_id}"),
                line.template,
                line.objective,
                line.status,
                line.answer or "not tested",
                line.trial_count,
                line.created_at,
                line.completed_at,
            )
            for line in searches
        ),
        (Source("optimization_jobs", "postgres", order="id desc"),),
        note,
    )
