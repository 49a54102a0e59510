-- Completed runs that report on a call, the one that dashboards show first.
-- grain: one row per run with events of the call
-- keys: simulation_run_id
-- parameters: call_id; chain, token_address and signal_s of the call, which keep the search to a few runs
select
    toInt64(runs.simulation_run_id) as simulation_run_id,
    runs.run_type as run_type,
    runs.strategy_name as strategy_name,
    runs.strategy_version as strategy_version,
    toBool(runs.is_current) as is_current
from
    (
        select
            simulation_run_id,
            run_type,
            strategy_name,
            strategy_version,
            is_current,
            completed_at
        from published_runs final
        where
            window_start <= toDateTime({signal_s:Int64}, 'UTC')
            and window_end > toDateTime({signal_s:Int64}, 'UTC')
            and (token_address = '' or (chain = {chain:String} and token_address = {token_address:String}))
    ) as runs
inner join
    (
        select distinct simulation_run_id
        from simulation_events
        where
            call_id = {call_id:Int64}
            and simulation_run_id in (
                select published.simulation_run_id
                from published_runs as published final
                where
                    published.window_start <= toDateTime({signal_s:Int64}, 'UTC')
                    and published.window_end > toDateTime({signal_s:Int64}, 'UTC')
                    and (
                        published.token_address = ''
                        or (published.chain = {chain:String} and published.token_address = {token_address:String})
                    )
            )
    ) as reports on runs.simulation_run_id = reports.simulation_run_id
order by
    runs.is_current desc,
    runs.run_type = 'backtest' desc,
    runs.completed_at desc,
    runs.simulation_run_id desc
