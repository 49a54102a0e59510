-- Locks, by id as every writer of runs does, the given runs that are not completed and were not begun again.
select runs.id
from simulation_runs as runs
inner join unnest(%(run_ids)s::bigint [], %(attempts)s::integer []) as given (run_id, attempt)
    on runs.id = given.run_id and runs.attempt = given.attempt
where runs.status <> 'completed'
order by runs.id
for update of runs
