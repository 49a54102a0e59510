-- Which single runs came out best?
-- grain: one row per completed, current backtest run
-- keys: simulation_run_id
-- units: pnl on capital 1 per trade; max_drawdown and win_rate are fractions; windows and times in UTC
--   mean_pnl          over the run's trades (its tokens weighted by their trades)
--   shrunk_pnl        total_pnl / (trade_count + 10): the mean as if ten more trades had come out at zero, so that
--                     a run of one lucky trade does not lead; run_rank sorts by it
--   max_drawdown      the worst of the run's tokens; for a run on one token it is the run's
--   sharpe_ratio      of the token, null for a run over several tokens (it can't be put together from parts)
--   data_quality      of the candles that the run read: unknown, good, gaps, stale or sparse
--   is_small_sample   fewer than 5 trades
-- upstream: stg_aggregates of int_current_backtests. A run without a trade has no results and ranks last.
-- depends: int_current_backtests, stg_aggregates
-- test: unique(simulation_run_id)
-- test: unique(run_rank)
-- test: holds(trade_count > 0 or mean_pnl is null)
with
results as (
    select
        simulation_run_id,
        count() as aggregated_tokens,
        sum(trade_count) as aggregated_trades,
        sum(final_pnl * trade_count) as aggregated_pnl,
        sum(coalesce(win_rate, 0) * trade_count) as aggregated_wins,
        maxOrNull(max_drawdown) as worst_drawdown,
        if(count() = 1, anyOrNull(sharpe_ratio), null) as only_sharpe_ratio
    from stg_aggregates
    where simulation_run_id in (select current.simulation_run_id from int_current_backtests as current)
    group by simulation_run_id
),

named as (
    select
        runs.simulation_run_id as simulation_run_id,
        runs.strategy_name as strategy_name,
        runs.strategy_version as strategy_version,
        runs.engine_version as engine_version,
        runs.chain as chain,
        runs.token_address as token_address,
        runs.window_start as window_start,
        runs.window_end as window_end,
        runs.completed_at as completed_at,
        runs.data_quality as data_quality,
        results.aggregated_tokens as token_count,
        results.aggregated_trades as trade_count,
        if(trade_count = 0, null, results.aggregated_wins / trade_count) as win_rate,
        if(trade_count = 0, null, results.aggregated_pnl / trade_count) as mean_pnl,
        results.aggregated_pnl as total_pnl,
        results.aggregated_pnl / (trade_count + 10) as shrunk_pnl,
        results.worst_drawdown as max_drawdown,
        results.only_sharpe_ratio as sharpe_ratio,
        trade_count < 5 as is_small_sample
    from int_current_backtests as runs
    left join results on runs.simulation_run_id = results.simulation_run_id
)

select
    row_number() over (
        order by
            trade_count = 0,
            shrunk_pnl desc,
            trade_count desc,
            simulation_run_id
    ) as run_rank,
    simulation_run_id,
    strategy_name,
    strategy_version,
    engine_version,
    chain,
    token_address,
    window_start,
    window_end,
    completed_at,
    token_count,
    trade_count,
    win_rate,
    mean_pnl,
    total_pnl,
    shrunk_pnl,
    max_drawdown,
    sharpe_ratio,
    is_small_sample,
    data_quality
from named
