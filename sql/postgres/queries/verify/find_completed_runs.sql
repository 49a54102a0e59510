-- grain: one of the given runs that is completed
-- keys: id
select id
from simulation_runs
where id = any(%(run_ids)s::bigint []) and status = 'completed'
