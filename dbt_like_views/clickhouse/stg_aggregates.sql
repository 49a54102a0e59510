-- Results of a run on one token.
-- grain: one row per completed run, superseded ones included, and token
-- keys: simulation_run_id, chain, token_address
-- units: final_pnl = mean pnl of a trade, on capital 1; max_drawdown and win_rate are fractions;
--   volatility, sharpe_ratio and sortino_ratio are annualised over 365 days
-- upstream: simulation_aggregates of the runs in published_runs: what a dead attempt wrote is not shown
-- depends: simulation_aggregates, published_runs
-- test: unique(simulation_run_id, chain, token_address)
-- test: holds(trade_count > 0 or final_pnl = 0)
select
    simulation_run_id,
    chain,
    token_address,
    trade_count,
    final_pnl,
    win_rate,
    max_drawdown,
    volatility,
    sharpe_ratio,
    sortino_ratio,
    reentry_count,
    ladder_entries_used,
    ladder_exits_used
from simulation_aggregates final
where simulation_run_id in (select published.simulation_run_id from published_runs as published)
