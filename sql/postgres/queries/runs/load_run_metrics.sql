-- grain: one row per completed run of those asked for
-- keys: simulation_run_id
-- units: ratios as fractions, times in minutes
-- upstream: simulation_results_summary
select
    s.simulation_run_id,
    s.final_pnl,
    s.max_drawdown,
    s.volatility,
    s.sharpe_ratio,
    s.sortino_ratio,
    s.win_rate,
    s.trade_count,
    s.avg_trade_return,
    s.median_trade_return,
    s.reentry_count,
    s.ladder_entries_used,
    s.ladder_exits_used,
    s.average_holding_minutes,
    s.max_holding_minutes,
    s.metadata_json::text as metadata_json
from simulation_results_summary as s
where s.simulation_run_id = any(%(run_ids)s::bigint [])
