"""One trade as one HTML file that needs nothing else: the chart, its events and where they come from."""

from quantbot_pipeline.report.page import render_page
from quantbot_pipeline.report.trade_chart import trade_figure
from quantbot_pipeline.report.trade_content import TradeContent, event_rows
from quantbot_pipeline.report.trade_drawing import drawing_notes, plan_drawing
from quantbot_pipeline.report.trade_words import (
    describe_trade,
    moment,
    result_text,
    strategy_name,
    subtitle_text,
    title_text,
    token_name,
)


def render_trade_page(content: TradeContent) -> str:
    """Return the page of a trade; equal contents give equal text."""
    drawing = plan_drawing(content)
    figure = trade_figure(content, drawing, has_title=False)
    is_even = not content.has_bought or abs(content.pnl) < 0.0005
    call = content.call
    return render_page(
        "trade.html.j2",
        {"trade": figure},
        title=title_text(content),
        token=token_name(content),
        result=result_text(content),
        sign="even" if is_even else "gain" if content.pnl > 0 else "loss",
        strategy=strategy_name(content),
        subtitle=subtitle_text(content, drawing.drawn),
        description=describe_trade(content),
        pixels=figure["layout"]["height"],
        notes=drawing_notes(content, drawing),
        events=[(moment(row.at), row) for row in event_rows(content)],
        facts=[
            ("Token", call.token),
            ("Caller", call.caller),
            ("Call", f"{call.call_id}, {moment(call.signal_at)} UTC"),
            ("Strategy", f"{content.strategy_name}, version {content.strategy_version}"),
            ("Run", f"{content.run_id} ({content.run_type.replace('_', ' ')})"),
            ("Data quality", content.data_quality),
        ],
    )
