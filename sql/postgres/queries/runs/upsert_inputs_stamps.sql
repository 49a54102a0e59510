-- grain: one row per completed run given
-- The time changes with the same stamp too: a run that is current again had its inputs before.
insert into simulation_run_inputs (simulation_run_id, inputs_stamp)
select
    stamps.run_id,
    stamps.inputs_stamp
from unnest(%(run_ids)s::bigint [], %(inputs_stamps)s::text []) as stamps (run_id, inputs_stamp)
inner join simulation_runs as runs on stamps.run_id = runs.id
where runs.status = 'completed'
order by stamps.run_id
on conflict (simulation_run_id) do update
set
    inputs_stamp = excluded.inputs_stamp,
    stamped_at = clock_timestamp()
