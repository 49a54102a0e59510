-- What dashboards may show of runs: completed, current (not superseded) backtests with their results.
-- grain: one row per run
-- keys: simulation_run_id
-- units: pnl on capital 1 per trade (0.25 = 25 %); mean_pnl = final_pnl of the summary, null without a trade;
--   total_pnl = mean_pnl * trade_count; win_count from win_rate * trade_count, which is whole; win_rate and
--   max_drawdown are fractions; times in UTC
-- upstream: stg_runs, simulation_results_summary. Trials of a parameter search, what-if runs and live evaluations
--   are left out: they vary a strategy, so that their trades are not the strategy's.
-- depends: stg_runs, simulation_results_summary
-- test: unique(simulation_run_id)
-- test: not_null(trade_count)
-- test: holds(win_count <= trade_count)
select
    runs.simulation_run_id,
    runs.strategy_name,
    runs.strategy_version,
    runs.engine_version,
    runs.token_id,
    runs.chain,
    runs.token_address,
    runs.symbol,
    runs.caller_id,
    runs.window_start,
    runs.window_end,
    runs.completed_at,
    summary.trade_count,
    coalesce(round(summary.win_rate::numeric * summary.trade_count), 0)::bigint as win_count,
    summary.win_rate,
    case when summary.trade_count > 0 then summary.final_pnl::double precision end as mean_pnl,
    summary.final_pnl::double precision * summary.trade_count as total_pnl,
    summary.median_trade_return as median_pnl,
    summary.max_drawdown,
    summary.volatility,
    summary.sharpe_ratio,
    summary.sortino_ratio,
    summary.average_holding_minutes,
    summary.max_holding_minutes,
    runs.data_quality
from stg_runs as runs
inner join simulation_results_summary as summary on runs.simulation_run_id = summary.simulation_run_id
where runs.is_current and runs.run_type = 'backtest'
