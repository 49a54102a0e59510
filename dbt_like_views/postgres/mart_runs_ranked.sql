-- Which single runs came out best?
-- grain: one row per completed, current backtest run
-- keys: simulation_run_id
-- units: pnl on capital 1 per trade; max_drawdown and win_rate are fractions; windows and times in UTC
--   shrunk_pnl        total_pnl / (trade_count + 10): the mean as if ten more trades had come out at zero, so that
--                     a run of one lucky trade does not lead; run_rank sorts by it
--   data_quality      of the candles that the run read: unknown, good, gaps, stale or sparse
--   is_small_sample   fewer than 5 trades
-- upstream: int_run_results. A run without a trade ranks last.
-- depends: int_run_results
-- test: unique(simulation_run_id)
-- test: unique(run_rank)
-- test: holds(trade_count > 0 or mean_pnl is null)
select
    row_number() over (
        order by
            trade_count = 0,
            total_pnl / (trade_count + 10) desc,
            trade_count desc,
            simulation_run_id
    ) as run_rank,
    simulation_run_id,
    strategy_name,
    strategy_version,
    engine_version,
    chain,
    token_address,
    symbol,
    window_start,
    window_end,
    completed_at,
    trade_count,
    win_rate,
    mean_pnl,
    total_pnl,
    total_pnl / (trade_count + 10) as shrunk_pnl,
    max_drawdown,
    sharpe_ratio,
    trade_count < 5 as is_small_sample,
    data_quality
from int_run_results
