-- Summaries of one completion; gone when the transaction ends.
create temporary table staged_summaries (
    simulation_run_id bigint not null,
    events_digest text not null,
    final_pnl double precision not null,
    max_drawdown double precision,
    volatility double precision,
    sharpe_ratio double precision,
    sortino_ratio double precision,
    win_rate double precision,
    trade_count bigint not null,
    avg_trade_return double precision,
    median_trade_return double precision,
    reentry_count bigint not null,
    ladder_entries_used bigint not null,
    ladder_exits_used bigint not null,
    average_holding_minutes double precision,
    max_holding_minutes double precision,
    metadata_json jsonb not null,
    data_quality text not null,
    data_quality_json jsonb not null,
    attempt integer
) on commit drop
