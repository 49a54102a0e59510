-- Completed simulation runs with their strategy and token.
-- grain: one row per completed run, superseded ones included (is_current tells)
-- keys: simulation_run_id
-- units: windows and times in UTC; the window holds its start and not its end
-- upstream: simulation_runs, strategies, tokens. chain and token_address are null for a run over several tokens,
--   caller_id for a run over the calls of all callers.
--   data_quality = verdict on the candles that the run read (docs/candle-quality.md), unknown for runs that were
--   completed before runs were judged
-- depends: simulation_runs, strategies, tokens
-- test: unique(simulation_run_id)
-- test: not_null(completed_at)
-- test: accepted(run_type, backtest, optimization, what_if, live_eval)
-- test: accepted(data_quality, unknown, good, gaps, stale, sparse)
-- test: holds(window_start < window_end)
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
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
left join tokens on runs.token_id = tokens.id
where runs.status = 'completed'
