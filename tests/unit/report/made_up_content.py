"""A report's content without a database: everything that the page can show, once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from made_up_search import named_search

from quantbot_pipeline.report.content import (
    CallerTable,
    CoverageMap,
    DataWindow,
    EquityCurve,
    ExampleCandle,
    ExampleEvent,
    ExampleTrade,
    Headline,
    ModelMetric,
    ModelStanding,
    QuarantineReason,
    ReportContent,
    Standing,
    TokenCoverage,
)

NOON = datetime(2025, 2, 3, 12, tzinfo=UTC)

STANDING = Standing(
    rank=1,
    strategy="steady",
    version="1",
    caller=None,
    trade_count=1234,
    skipped_count=5,
    token_count=20,
    win_rate=0.4,
    win_rate_lower=0.31,
    mean_pnl=0.125,
    mean_pnl_lower=-0.02,
    median_pnl=-0.3,
    total_pnl=154.25,
    is_small_sample=False,
)


def event(seq: int, kind: str, price: float | None, **changes: float | None) -> ExampleEvent:
    """Return an event `seq` five-minute candles after noon."""
    made = ExampleEvent(
        seq=seq,
        at=NOON + timedelta(minutes=5 * seq),
        kind=kind,
        price=price,
        size=1.0,
        remaining_position=1.0,
        pnl_so_far=0.0,
        stop=0.7,
        average_entry=1.0,
        reason="market order",
    )
    return replace(made, **changes)


def content(text: str = "plain") -> ReportContent:
    """Return a content in which every text that comes from outside is `text`."""
    standing = replace(STANDING, strategy=text)
    caller = replace(standing, caller=text, is_small_sample=True, mean_pnl_lower=None)
    candles = tuple(
        ExampleCandle(NOON + timedelta(minutes=5 * i), 1.0 + i, 1.6 + i, 0.9 + i, 1.5 + i) for i in range(3)
    )
    events = (event(0, "entry", 1.0), event(2, "target_hit", 2.0, remaining_position=0.0, pnl_so_far=1.0))
    return ReportContent(
        generated_at=NOON,
        headline=Headline(candles=3, alerts=1, calls=1, trades=1234, runs_failed=2),
        window=DataWindow(NOON, NOON, (text,), NOON, NOON, (text,)),
        strategies=(standing,),
        callers=(CallerTable(text, "1", (caller,), 40),),
        equity=(EquityCurve(text, "1", 2, (date(2025, 2, 3), date(2025, 2, 5)), (0.1, 0.05)),),
        example=ExampleTrade(
            strategy=text,
            version="1",
            run_id=7,
            call_id=9,
            caller=text,
            token=text,
            symbol=text,
            signal_at=NOON,
            pnl=1.0,
            seconds_per_candle=900,
            seconds_per_stored_candle=300,
            candles=candles,
            events=events,
            target_multiples=(2.0, 50.0),
        ),
        search=named_search(text),
        models=(
            ModelStanding(
                text,
                "1",
                text,
                "ready",
                23,
                text,
                (text,),
                (ModelMetric("roc_auc", 0.6, (None,)),),
                ((text, text),),
                f"models/{text}-1.html",
            ),
        ),
        quarantine=(QuarantineReason("alerts", text, 2, text, text),),
        coverage=CoverageMap(
            first_days=(date(2025, 2, 3), date(2025, 2, 5)),
            days_per_cell=2,
            token_count=70,
            total=(0.75, 1.0),
            tokens=(TokenCoverage(text, 0.5, (0.25, 1.0)), TokenCoverage(f"{text} 2", 0.9, (0.9, None))),
        ),
    )
