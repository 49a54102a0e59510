/*
description: "Which runs may dashboards show: completed, current (not superseded) backtests?"
grain: one row per run
columns:
  simulation_run_id: {meaning: Simulation run}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  config_hash: {meaning: Hash of all that the run was computed with}
  engine_version: {meaning: Engine that computed the run}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  trade_count: {meaning: Trades that bought, unit: trades}
  completed_at: {meaning: When the run was completed, unit: UTC}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - not_null: [strategy_name]
notes: |
  Trials of a parameter search, what-if runs and live evaluations are left out: they vary a strategy, so that their
  trades are not the strategy's.
*/
select
    simulation_run_id,
    strategy_name,
    strategy_version,
    config_hash,
    engine_version,
    chain,
    token_address,
    window_start,
    window_end,
    trade_count,
    completed_at,
    data_quality
from {{ ref('stg_runs') }}
where is_current and run_type = 'backtest'
