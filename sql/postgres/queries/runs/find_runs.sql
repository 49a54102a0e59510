-- grain: one of the given runs that exists, whatever its status
-- keys: id
select id
from simulation_runs
where id = any(%(run_ids)s::bigint [])
order by id
