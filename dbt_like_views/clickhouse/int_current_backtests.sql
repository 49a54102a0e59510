-- The runs that dashboards show: completed, current (not superseded) backtests.
-- grain: one row per run
-- keys: simulation_run_id
-- units: windows and times in UTC
-- upstream: stg_runs. Trials of a parameter search, what-if runs and live evaluations are left out: they vary a
--   strategy, so that their trades are not the strategy's.
-- depends: stg_runs
-- test: unique(simulation_run_id)
-- test: not_null(strategy_name)
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
from stg_runs
where is_current and run_type = 'backtest'
