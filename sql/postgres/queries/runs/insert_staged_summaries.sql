-- grain: one row per staged run that is not completed yet; what is new in the summary of a run that gets its trace is
-- the number of its events.
insert into simulation_results_summary (
    simulation_run_id,
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
)
select
    staged.simulation_run_id,
    staged.final_pnl,
    staged.max_drawdown,
    staged.volatility,
    staged.sharpe_ratio,
    staged.sortino_ratio,
    staged.win_rate,
    staged.trade_count,
    staged.avg_trade_return,
    staged.median_trade_return,
    staged.reentry_count,
    staged.ladder_entries_used,
    staged.ladder_exits_used,
    staged.average_holding_minutes,
    staged.max_holding_minutes,
    staged.metadata_json
from staged_summaries as staged
inner join simulation_runs as runs on staged.simulation_run_id = runs.id
where
    runs.status <> 'completed'
    or (runs.events_digest = 'metrics-only' and staged.events_digest <> 'metrics-only')
on conflict (simulation_run_id) do update set metadata_json = excluded.metadata_json
