-- grain: one of the given runs that is not completed and was not begun again
-- keys: id
select runs.id
from simulation_runs as runs
inner join unnest(%(run_ids)s::bigint [], %(attempts)s::integer []) as given (run_id, attempt)
    on runs.id = given.run_id and runs.attempt = given.attempt
where runs.status <> 'completed'
order by runs.id
