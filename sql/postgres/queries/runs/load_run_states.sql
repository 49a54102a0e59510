-- grain: one row per given run that exists
-- keys: id
select
    runs.id,
    runs.status,
    runs.scope_key
from simulation_runs as runs
where runs.id = any(%(run_ids)s::bigint [])
