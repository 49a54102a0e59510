/*
description: Which runs were completed, as Postgres last published them?
grain: one row per completed run
columns:
  simulation_run_id: {meaning: Simulation run}
  run_type: {meaning: "Why it was run: backtest, optimization, what_if or live_eval"}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  config_hash: {meaning: Hash of all that the run was computed with}
  engine_version: {meaning: Engine that computed the run}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  is_current: {meaning: Whether no newer run superseded it, unit: true or false}
  trade_count: {meaning: Trades that bought, unit: trades}
  completed_at: {meaning: When the run was completed, unit: UTC}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - not_null: [simulation_run_id]
  - accepted_values: {column: run_type, values: [backtest, optimization, what_if, live_eval]}
  - accepted_values: {column: data_quality, values: [unknown, good, gaps, stale, sparse]}
  - expression: window_start < window_end
notes: |
  A run that is running or failed was never published; a superseded one is here with is_current = 0. data_quality is
  unknown for runs that were completed before runs were judged.
*/
select
    simulation_run_id,
    run_type,
    strategy_name,
    strategy_version,
    config_hash,
    engine_version,
    chain,
    token_address,
    window_start,
    window_end,
    is_current,
    trade_count,
    completed_at,
    toString(data_quality) as data_quality
from {{ source('published_runs') }} final
