-- Runs that would report on a call but did not come to their end, the newest first.
-- grain: one row per run
-- keys: simulation_run_id
-- parameters: call_id, strategy_name
select
    runs.id as simulation_run_id,
    runs.status,
    runs.error_message
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
inner join calls on calls.id = %(call_id)s
where
    runs.status <> 'completed'
    and strategies.name = %(strategy_name)s
    and (runs.token_id is null or runs.token_id = calls.token_id)
    and runs.window_start <= calls.signal_timestamp
    and calls.signal_timestamp < runs.window_end
order by runs.id desc
