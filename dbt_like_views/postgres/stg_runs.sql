/*
description: Which runs were completed, with their strategy and token?
grain: one row per completed run, superseded ones included (is_current tells)
columns:
  simulation_run_id: {meaning: Simulation run}
  run_type: {meaning: "Why it was run: backtest, optimization, what_if or live_eval"}
  strategy_id: {meaning: Strategy version's id in Postgres}
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  config_hash: {meaning: Hash of all that the run was computed with}
  engine_version: {meaning: Engine that computed the run}
  token_id: {meaning: Token's id in Postgres}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  caller_id: {meaning: Caller whose calls the run is over; null for the calls of all}
  window_start: {meaning: First moment of the run's window, unit: UTC}
  window_end: {meaning: First moment after the run's window, unit: UTC}
  is_current: {meaning: Whether no newer run superseded it, unit: true or false}
  completed_at: {meaning: When the run was completed, unit: UTC}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse
      (docs/candle-quality.md)"
tests:
  - unique: [simulation_run_id]
  - not_null: [completed_at]
  - accepted_values: {column: run_type, values: [backtest, optimization, what_if, live_eval]}
  - accepted_values: {column: data_quality, values: [unknown, good, gaps, stale, sparse]}
  - expression: window_start < window_end
notes: |
  chain and token_address are null for a run over several tokens, caller_id for a run over the calls of all callers.
  data_quality is unknown for runs that were completed before runs were judged.
*/
select
    runs.id as simulation_run_id,
    runs.run_type,
    runs.strategy_id,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    runs.config_hash,
    runs.engine_version,
    runs.token_id,
    tokens.chain,
    tokens.address as token_address,
    tokens.symbol,
    runs.caller_id,
    runs.window_start,
    runs.window_end,
    runs.superseded_by is null as is_current,
    runs.completed_at,
    runs.data_quality
from {{ source('simulation_runs') }} as runs
inner join {{ source('strategies') }} as strategies on runs.strategy_id = strategies.id
left join {{ source('tokens') }} as tokens on runs.token_id = tokens.id
where runs.status = 'completed'
