/*
description: Which single runs came out best?
grain: one row per completed, current backtest run
materialized: table
order_by: [run_rank]
columns:
  run_rank: {meaning: "Place by shrunk_pnl, runs without a trade last; 1 is best", unit: rank}
  simulation_run_id: {meaning: Simulation run}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  engine_version: {meaning: Engine that computed the run}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  completed_at: {meaning: When the run was completed, unit: UTC}
  token_count: {meaning: Tokens with a trade, unit: tokens}
  trade_count: {meaning: Trades that bought, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  shrunk_pnl:
    meaning: "total_pnl / (trade_count + 10): the mean as if ten more trades had come out at zero, so that a run of
      one lucky trade does not lead"
    unit: fraction of the trade's capital
  max_drawdown: {meaning: Worst of the run's tokens; for a run on one token it is the run's, unit: fraction}
  sharpe_ratio:
    meaning: Of the token; null for a run over several tokens, as it can't be put together from parts
    unit: per square root of a year
  is_small_sample: {meaning: Fewer than 5 trades, unit: true or false}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - unique: [run_rank]
  - expression: trade_count > 0 or mean_pnl is null
notes: |
  A run without a trade has no results and ranks last.
*/
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
    from {{ ref('stg_aggregates') }}
    where simulation_run_id in (select current.simulation_run_id from {{ ref('int_current_backtests') }} as current)
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
        toBool(trade_count < 5) as is_small_sample
    from {{ ref('int_current_backtests') }} as runs
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
