-- The run that is current once the staged runs are completed, per scope: of the scope's current run and the
-- staged ones the last claimed.
create temporary table staged_successors on commit drop as
select distinct on (runs.scope_key)
    runs.scope_key,
    runs.id
from simulation_runs as runs
where
    runs.scope_key in (
        select completing.scope_key
        from simulation_runs as completing
        inner join staged_summaries as staged on completing.id = staged.simulation_run_id
    )
    and (
        (runs.status = 'completed' and runs.superseded_by is null)
        or (
            runs.status <> 'completed'
            and runs.id in (select staged.simulation_run_id from staged_summaries as staged)
        )
    )
order by runs.scope_key, runs.claimed_at desc, runs.id desc
