"""Rows of the report's queries as the values that pages show. What is no number, such as NaN, becomes None."""

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

from quantbot_pipeline.report.collect import finite, moment
from quantbot_pipeline.report.site_content import (
    CallerMonth,
    CallerName,
    ExitLine,
    GapLine,
    RunLine,
    SearchLine,
    StrategyName,
    TokenLine,
    TokenName,
    TradeLine,
)


def strategy_of(row: Mapping[str, Any]) -> StrategyName:
    """Return the strategy version that a row is of."""
    return row["strategy_name"], row["strategy_version"]


def caller_of(row: Mapping[str, Any]) -> CallerName:
    """Return the caller that a row is of."""
    return row["caller_source"], row["caller_handle"]


def token_of(row: Mapping[str, Any]) -> TokenName:
    """Return the token that a row is of."""
    return row["chain"], row["token_address"]


def trade_line(row: Mapping[str, Any]) -> TradeLine:
    """Return a trade, or a call that never bought."""
    return TradeLine(
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        run_id=row["run_id"],
        call_id=row["call_id"],
        caller=caller_of(row),
        chain=row["chain"],
        token_address=row["token_address"],
        symbol=row["symbol"] or "",
        signal_at=moment(row["signal_s"]),
        entered_at=None if row["entered_s"] is None else moment(row["entered_s"]),
        holding_minutes=row["holding_minutes"],
        exit_event=row["exit_event"] or "",
        end_reason=row["end_reason"] or "",
        pnl=None if row["outcome"] == "skipped" else row["pnl"],
        action_count=row["buy_count"] + row["sell_count"] + row["target_count"] + row["reentry_count"],
        data_quality=row["data_quality"],
    )


def run_line(row: Mapping[str, Any]) -> RunLine:
    """Return a run."""
    return RunLine(
        rank=row["run_rank"],
        run_id=row["simulation_run_id"],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        engine_version=row["engine_version"],
        chain=row["chain"],
        token_address=row["token_address"],
        window_start=moment(row["window_start_s"]),
        window_end=moment(row["window_end_s"]),
        completed_at=moment(row["completed_s"]),
        trade_count=row["trade_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        total_pnl=row["total_pnl"],
        max_drawdown=finite(row["max_drawdown"]),
        sharpe_ratio=finite(row["sharpe_ratio"]),
        is_small_sample=bool(row["is_small_sample"]),
        data_quality=row["data_quality"],
    )


def caller_month(row: Mapping[str, Any]) -> CallerMonth:
    """Return a caller's month."""
    return CallerMonth(
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        month=row["month_name"],
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        mean_pnl_lower=finite(row["mean_pnl_lower"]),
        total_pnl=row["total_pnl"],
        is_small_sample=bool(row["is_small_sample"]),
    )


def exit_line(row: Mapping[str, Any]) -> ExitLine:
    """Return how calls ended."""
    return ExitLine(
        outcome=row["outcome"],
        exit_event=row["exit_event"],
        exit_reason=row["exit_reason"],
        call_count=row["call_count"],
        share_of_calls=row["share_of_calls"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        median_pnl=finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
        mean_holding_minutes=finite(row["mean_holding_minutes"]),
    )


def token_line(row: Mapping[str, Any]) -> TokenLine:
    """Return results on a token."""
    return TokenLine(
        rank=row["token_rank"],
        strategy=row["strategy_name"],
        version=row["strategy_version"],
        chain=row["chain"],
        token_address=row["token_address"],
        symbol=row["symbol"] or "",
        trade_count=row["trade_count"],
        skipped_count=row["skipped_count"],
        caller_count=row["caller_count"],
        win_rate=finite(row["win_rate"]),
        mean_pnl=finite(row["mean_pnl"]),
        median_pnl=finite(row["median_pnl"]),
        total_pnl=row["total_pnl"],
    )


def gap_line(row: Mapping[str, Any]) -> GapLine:
    """Return a month with missing candles."""
    return GapLine(
        chain=row["chain"],
        token_address=row["token_address"],
        month=row["month_name"],
        interval=row["interval_name"],
        candle_count=row["candle_count"],
        missing_count=row["missing_count"],
        coverage=row["coverage"],
        gap_count=row["gap_count"],
        longest_gap_minutes=row["longest_gap_candles"] * row["interval_seconds"] / 60,
        silent_hours=row["silent_hours"],
        distorted_count=row["distorted_count"],
    )


def search_line(row: Mapping[str, Any]) -> SearchLine:
    """Return a parameter search."""
    counts = json.loads(row["counts_json"]) if row["counts_json"] else {}
    verdict = json.loads(row["verdict_json"]) if row["verdict_json"] else {}
    return SearchLine(
        job_id=row["job_id"],
        name=row["name"],
        status=row["status"],
        template=row["template"],
        objective=row["objective"],
        answer=str(verdict.get("answer") or ""),
        trial_count=sum(counts.values()) or row["stored_count"],
        created_at=row["created_at"].astimezone(UTC),
        completed_at=None if row["completed_at"] is None else row["completed_at"].astimezone(UTC),
    )
