"""A report's content without a database: everything that the pages can show, once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from made_up_search import named_search

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.report.content import (
    CoverageMap,
    DataWindow,
    EquityCurve,
    Headline,
    ModelMetric,
    ModelStanding,
    QuarantineReason,
    ReportContent,
    Standing,
    TokenCoverage,
)
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    ExitLine,
    FailureLine,
    GapLine,
    HealthLine,
    Narrowing,
    QualityCount,
    RunDetail,
    RunLine,
    SearchLine,
    SiteContent,
    StrategyDocument,
    TokenLine,
    TokenPrices,
    TradeLine,
    TradeList,
)
from quantbot_pipeline.report.trade_content import TradeContent, TradedCall
from quantbot_pipeline.strategy.model import parse_strategy

NOON = datetime(2025, 2, 3, 12, tzinfo=UTC)

STRATEGY = {
    "name": "made-up",
    "version": "1",
    "entry": {"type": "immediate"},
    "exits": {"targets": [{"multiple": 1.5, "size": 0.5}], "stop_loss": {"initial": 0.3}},
}

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


def trade(text: str = "plain", *, call_id: int = 9, candle_count: int = 60) -> TradeContent:
    """Return a trade on a price that swings around 1.2: half is sold at the target, half at the stop."""
    signal_s = int(NOON.timestamp())
    step = np.arange(candle_count, dtype=np.int64)
    middle = 1.2 + np.sin(step / 9)
    candles = Candles(300, signal_s - 3000 + 300 * step, middle, middle + 0.1, middle - 0.1, middle, np.ones(len(step)))
    strategy = parse_strategy(STRATEGY)
    (simulated,) = simulate_reference(candles, [Call(call_id, 1, signal_s)], strategy)
    return TradeContent(
        call=TradedCall(call_id, text, text, "solana", text, text, signal_s),
        strategy_name=text,
        strategy_version="1",
        strategy=strategy,
        run_id=7,
        run_type="backtest",
        is_current=True,
        data_quality="gaps",
        candles=candles,
        events=simulated.events,
    )


def content(text: str = "plain") -> ReportContent:
    """Return an overview in which every text that comes from outside is `text`."""
    return ReportContent(
        generated_at=NOON,
        headline=Headline(candles=3, alerts=1, calls=1, trades=1234, runs_failed=2),
        window=DataWindow(NOON, NOON, (text,), NOON, NOON, (text,)),
        strategies=(replace(STANDING, strategy=text),),
        equity=(EquityCurve(text, "1", 2, (date(2025, 2, 3), date(2025, 2, 5)), (0.1, 0.05)),),
        example=trade(text),
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
                "models/card-1.html",
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


def trade_lines(text: str, count: int) -> tuple[TradeLine, ...]:
    """Return so many trades, an hour apart, the latest first; each seventh was skipped."""
    return tuple(
        TradeLine(
            strategy=text,
            version="1",
            run_id=7,
            call_id=k,
            caller=(text, text),
            chain="solana",
            token_address=text,
            symbol=text if k % 2 else "",
            signal_at=NOON - timedelta(hours=k),
            entered_at=NOON - timedelta(hours=k) if k % 7 else None,
            holding_minutes=60.0 if k % 7 else None,
            exit_event=("stop_loss", "target_hit")[k % 2] if k % 7 else "",
            end_reason=text if k % 7 else "timeout",
            pnl=((k * 37) % 101 - 50) / 100 if k % 7 else None,
            action_count=3,
            data_quality=("good", "gaps", "stale", "sparse", "unknown")[k % 5],
        )
        for k in range(count)
    )


def run_line(text: str = "plain", run_id: int = 7) -> RunLine:
    """Return a run of 1234 trades."""
    return RunLine(
        rank=1,
        run_id=run_id,
        strategy=text,
        version="1",
        engine_version=text,
        chain="solana",
        token_address=text,
        window_start=NOON,
        window_end=NOON + timedelta(days=31),
        completed_at=NOON,
        trade_count=1234,
        win_rate=0.4,
        mean_pnl=0.125,
        total_pnl=154.25,
        max_drawdown=0.3,
        sharpe_ratio=None,
        is_small_sample=True,
        data_quality="gaps",
    )


def run_detail(text: str = "plain") -> RunDetail:
    """Return what is known of a run."""
    quality = {"reasons": [text], "coverage": 0.9, "gap_count": 2}
    return RunDetail(quality, {"fingerprint": "f" * 64}, "0" * 64, "1" * 64, 1)


def site_content(text: str = "plain", *, trade_count: int = 30, narrowing: Narrowing | None = None) -> SiteContent:
    """Return everything that the pages show; every text that comes from outside is `text`."""
    name, caller = (text, "1"), (text, text)
    overview = content(text)
    standings = tuple(
        replace(
            STANDING,
            rank=k + 1,
            strategy=text,
            caller=f"{text} / {text}",
            caller_name=caller if k == 0 else (text, f"other {k}"),
            trade_count=1234 - 100 * k,
            is_small_sample=k > 10,
            mean_pnl_lower=None if k > 10 else 0.1 - k / 100,
        )
        for k in range(12)
    )
    trades = TradeList(trade_lines(text, trade_count), trade_count + 5)
    made_at = NOON
    search = named_search(text)
    return SiteContent(
        overview=overview,
        narrowing=narrowing or Narrowing(),
        callers=(*standings, replace(standings[0], strategy=f"{text} too")),
        caller_pages=(caller,),
        caller_total=12,
        version_callers={name: 12, (f"{text} too", "1"): 1},
        caller_months={
            caller: tuple(
                CallerMonth(text, "1", f"2025-0{k}", 10, 1, 0.5, 0.1 * k, None, 1.0 * k, True) for k in range(1, 4)
            )
        },
        caller_trades={caller: trades},
        strategy_trades={name: trades},
        strategy_documents={name: StrategyDocument(text, {"name": text}, "0" * 64)},
        exits={
            name: (
                ExitLine("traded", "stop_loss", "initial", 3, 0.75, 0.0, -0.2, -0.2, -0.6, 90.0),
                ExitLine("skipped", "entry_skipped", "no_candles", 1, 0.25, None, None, None, 0.0, None),
            )
        },
        runs=(run_line(text), run_line(text, 8)),
        run_total=9,
        version_runs={name: 9},
        token_runs={("solana", text): 3},
        run_pages=(7,),
        tokens=(TokenLine(1, text, "1", "solana", text, "", 3, 1, 1, 0.5, 0.1, 0.1, 0.3),),
        token_total=4,
        token_pages=(("solana", text),),
        token_count=3,
        token_trades={("solana", text): trades},
        token_prices={
            ("solana", text): TokenPrices(
                tuple(NOON + timedelta(hours=k - 20) for k in range(30)), tuple(1.0 + k / 10 for k in range(30)), 60.0
            )
        },
        searches=(
            SearchLine(search.job_id, text, "completed", text, text, text, 12, made_at, made_at),
            SearchLine(99, text, "failed", text, text, "", 0, made_at, None),
        ),
        search_total=2,
        search_pages=(search,),
        qualities=(QualityCount(text, "1", "gaps", 3, 12),),
        failures=(FailureLine("runs", text, 2, NOON, text),),
        health=(HealthLine("runs", "runs_failed", 2, NOON, True, text),),
        gaps=(GapLine("solana", text, "2025-02", "5m", 90, 10, 0.9, 2, 25.0, 0.5, 0),),
        gap_total=3,
    )
