"""The page of a run: its result, the candles that it read, and its trades on the price."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.report.site_content import RunDetail, RunLine, SiteContent, TradeList
from quantbot_pipeline.report.site_page import NO_VALUE, SitePage, counted, first_of, titled
from quantbot_pipeline.report.site_paths import RUNS, run_path
from quantbot_pipeline.report.site_tables import run_table, trade_table
from quantbot_pipeline.report.tables import Column, Source, Table
from quantbot_pipeline.report.trade_chart import trade_figure
from quantbot_pipeline.report.trade_content import TradeContent, event_rows
from quantbot_pipeline.report.trade_drawing import drawing_notes, plan_drawing
from quantbot_pipeline.report.trade_words import describe_trade

DRAWN_TRADES = 4
"""Trades of a run that are drawn; its other ones are in its table, and 'quantbot trade' draws any."""

DRAWN_CANDLES = 400
"""Candles that are drawn of a trade at most; more of them melt into a band on a screen of usual width."""

_EVENT_ROWS = 500


@dataclass(frozen=True, slots=True)
class DrawnTrade:
    """A trade that is drawn on a page, with its events."""

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
        chart, figure = draw_trade(trade)
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
        titled(f"Run {run.run_id}"),
        "site_run.html.j2",
        figures,
        {
            "run": run,
            "token": token,
            "words": f"{counted(trades.total, 'call')}, {counted(run.trade_count, 'trade')}.",
            "result": run_table(
                [run],
                (),
                source=Source("mart_runs_ranked", filters=(("simulation_run_id", run.run_id),)),
                with_run=False,
            ),
            "run_facts": [
                ("Engine", f"version {run.engine_version}"),
                ("Sharpe ratio", NO_VALUE if run.sharpe_ratio is None else f"{run.sharpe_ratio:.2f}"),
                ("Attempt", str(detail.attempt)),
                ("Configuration", detail.config_hash[:16]),
                ("Events", detail.events_digest[:16]),
                ("Candles and calls read", str(detail.selection.get("fingerprint", NO_VALUE))[:16]),
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


def draw_trade(trade: TradeContent, *, figure_name: str = "") -> tuple[DrawnTrade, dict[str, Any]]:
    """Return a trade as pages show it, and its figure; without a name the figure is named after the call."""
    drawing = plan_drawing(trade, DRAWN_CANDLES)
    figure = trade_figure(trade, drawing, has_title=False)
    notes = [f"{note[:1].upper()}{note[1:]}." for note in drawing_notes(trade, drawing)]
    call = trade.call
    drawn = DrawnTrade(
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
        first_of(_EVENT_ROWS, len(rows), "events", "the statement below asks for all"),
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
