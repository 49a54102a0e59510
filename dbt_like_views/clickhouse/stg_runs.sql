-- Completed simulation runs under clear names, as Postgres last published them.
-- grain: one row per completed run
-- keys: simulation_run_id
-- units: windows and times in UTC; the window holds its start and not its end
-- upstream: published_runs, the mirror of Postgres' completed runs (the newest row_version of a run counts).
--   A run that is running or failed was never published; a superseded one is here with is_current = 0.
--   data_quality = verdict on the candles that the run read (docs/candle-quality.md), unknown for runs that were
--   completed before runs were judged
-- depends: published_runs
-- test: unique(simulation_run_id)
-- test: not_null(simulation_run_id)
-- test: accepted(run_type, backtest, optimization, what_if, live_eval)
-- test: accepted(data_quality, unknown, good, gaps, stale, sparse)
-- test: holds(window_start < window_end)
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
from published_runs final
