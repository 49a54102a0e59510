/*
description: Which single runs came out best?
grain: one row per completed, current backtest run
columns:
  run_rank: {meaning: "Place by shrunk_pnl, runs without a trade last; 1 is best", unit: rank}
  simulation_run_id: {meaning: Simulation run}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  engine_version: {meaning: Engine that computed the run}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  completed_at: {meaning: When the run was completed, unit: UTC}
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
  max_drawdown: {meaning: Largest fall of the sum of results from a peak, unit: fraction}
  sharpe_ratio:
    meaning: Mean over standard deviation of the results, annualised over 365 days
    unit: per square root of a year
  is_small_sample: {meaning: Fewer than 5 trades, unit: true or false}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - unique: [run_rank]
  - expression: trade_count > 0 or mean_pnl is null
agrees:
  keys: [simulation_run_id]
  columns:
    - strategy_name
    - strategy_version
    - engine_version
    - chain
    - token_address
    - window_start
    - window_end
    - trade_count
    - win_rate
    - mean_pnl
    - total_pnl
    - shrunk_pnl
    - max_drawdown
    - sharpe_ratio
    - is_small_sample
    - data_quality
  # Of a run over several tokens ClickHouse knows the tokens' parts alone.
  unless: token_address is null
notes: |
  A run without a trade ranks last.
*/
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
from {{ ref('int_run_results') }}
