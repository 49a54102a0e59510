/*
description: What did the runs that dashboards may show (completed, current backtests) come to?
grain: one row per run
columns:
  simulation_run_id: {meaning: Simulation run}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  engine_version: {meaning: Engine that computed the run}
  token_id: {meaning: Token's id in Postgres}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  caller_id: {meaning: Caller whose calls the run is over; null for the calls of all}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  completed_at: {meaning: When the run was completed, unit: UTC}
  trade_count: {meaning: Trades that bought, unit: trades}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  max_drawdown: {meaning: Largest fall of the sum of results from a peak, unit: fraction}
  volatility: {meaning: "Standard deviation of the results, annualised over 365 days", unit: fraction per year}
  sharpe_ratio:
    meaning: Mean over standard deviation of the results, annualised over 365 days
    unit: per square root of a year
  sortino_ratio:
    meaning: As the Sharpe ratio, over the standard deviation of losses
    unit: per square root of a year
  average_holding_minutes: {meaning: Mean time from the first buy to the last sell, unit: minutes}
  max_holding_minutes: {meaning: Longest time from the first buy to the last sell, unit: minutes}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - not_null: [trade_count]
  - expression: win_count <= trade_count
notes: |
  Trials of a parameter search, what-if runs and live evaluations are left out: they vary a strategy, so that their
  trades are not the strategy's.
*/
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
from {{ ref('stg_runs') }} as runs
inner join {{ source('simulation_results_summary') }} as summary on runs.simulation_run_id = summary.simulation_run_id
where runs.is_current and runs.run_type = 'backtest'
