-- grain: one row per current backtest that read a call which is gone from its window, and has none left to report
-- Rows are locked by id, as every writer of runs does.
with bereft as (
    select runs.id
    from simulation_runs as runs
    where
        runs.run_type = 'backtest'
        and runs.status = 'completed'
        and runs.superseded_by is null
        and exists (
            select 1
            from changed_calls as changed
            where
                changed.token_id = runs.token_id
                and changed.signal_timestamp >= runs.window_start
                and changed.signal_timestamp < runs.window_end
        )
        and not exists (
            select 1
            from calls
            where
                calls.is_active
                and calls.token_id = runs.token_id
                and calls.signal_timestamp >= runs.window_start
                and calls.signal_timestamp < runs.window_end
                and (
                    calls.signal_type = 'entry'
                    or (calls.signal_type = 'scale_in' and runs.config_json ->> 'overlap' = 'scale_in')
                )
        )
    order by runs.id
    for update
)

update simulation_runs
set
    superseded_by = simulation_runs.id,
    superseded_at = clock_timestamp()
from bereft
where simulation_runs.id = bereft.id
