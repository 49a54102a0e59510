-- grain: one completed run, by id, from after_id on, with its summary and how many events it says that it wrote
-- keys: id
-- units: ratios as fractions, times in minutes
select
    runs.id,
    runs.events_digest,
    runs.data_selection_json,
    summary.final_pnl,
    summary.max_drawdown,
    summary.volatility,
    summary.sharpe_ratio,
    summary.sortino_ratio,
    summary.win_rate,
    summary.trade_count,
    summary.avg_trade_return,
    summary.median_trade_return,
    summary.reentry_count,
    summary.ladder_entries_used,
    summary.ladder_exits_used,
    summary.average_holding_minutes,
    summary.max_holding_minutes,
    summary.metadata_json
from simulation_runs as runs
inner join simulation_results_summary as summary on runs.id = summary.simulation_run_id
where runs.status = 'completed' and runs.id > %(after_id)s
order by runs.id
limit %(row_limit)s
