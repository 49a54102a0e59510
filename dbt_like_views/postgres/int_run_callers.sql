-- Whose calls lie in which run: what Postgres can know about who a run's result belongs to.
-- grain: one row per completed, current backtest run on one token and caller with calls in its window
-- keys: simulation_run_id, caller_id
-- units: call_count counts the caller's calls within the window; caller_count the callers of the run
-- upstream: int_run_results, stg_calls. Runs over several tokens are left out: their selection of calls is known
--   to the run alone. Calls that were imported after the run was computed are counted too, until it is
--   computed again.
-- depends: int_run_results, stg_calls
-- test: unique(simulation_run_id, caller_id)
-- test: holds(call_count > 0)
select
    runs.simulation_run_id,
    calls.caller_id,
    runs.strategy_name,
    runs.strategy_version,
    runs.token_id,
    runs.trade_count,
    runs.win_count,
    runs.total_pnl,
    count(*) as call_count,
    count(*) over (partition by runs.simulation_run_id) as caller_count
from int_run_results as runs
inner join stg_calls as calls
    on
        runs.token_id = calls.token_id
        and calls.signal_timestamp >= runs.window_start
        and calls.signal_timestamp < runs.window_end
        and (runs.caller_id is null or runs.caller_id = calls.caller_id)
group by
    runs.simulation_run_id,
    calls.caller_id,
    runs.strategy_name,
    runs.strategy_version,
    runs.token_id,
    runs.trade_count,
    runs.win_count,
    runs.total_pnl
