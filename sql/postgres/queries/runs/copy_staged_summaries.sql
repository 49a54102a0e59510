copy staged_summaries (
    simulation_run_id,
    events_digest,
    final_pnl,
    max_drawdown,
    volatility,
    sharpe_ratio,
    sortino_ratio,
    win_rate,
    trade_count,
    avg_trade_return,
    median_trade_return,
    reentry_count,
    ladder_entries_used,
    ladder_exits_used,
    average_holding_minutes,
    max_holding_minutes,
    metadata_json
) from stdin
