-- grain: one token of the given runs
-- keys: simulation_run_id, chain, token_address
-- units: see simulation_aggregates
select
    a.simulation_run_id as simulation_run_id,
    a.chain as chain,
    a.token_address as token_address,
    a.final_pnl as final_pnl,
    a.max_drawdown as max_drawdown,
    a.volatility as volatility,
    a.sharpe_ratio as sharpe_ratio,
    a.sortino_ratio as sortino_ratio,
    a.win_rate as win_rate,
    a.trade_count as trade_count,
    a.reentry_count as reentry_count,
    a.ladder_entries_used as ladder_entries_used,
    a.ladder_exits_used as ladder_exits_used
from simulation_aggregates as a final
where a.simulation_run_id in {run_ids:Array(UInt64)}
order by a.simulation_run_id, a.chain, a.token_address
