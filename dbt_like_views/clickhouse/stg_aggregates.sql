-- Results of a run on one token.
-- grain: one row per run and token; also of runs that readers must not see
-- keys: simulation_run_id, chain, token_address
-- units: final_pnl = mean pnl of a trade, on capital 1; max_drawdown and win_rate are fractions;
--   volatility, sharpe_ratio and sortino_ratio are annualised over 365 days
-- upstream: simulation_aggregates
-- depends: simulation_aggregates
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
