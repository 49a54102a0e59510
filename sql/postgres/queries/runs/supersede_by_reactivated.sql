-- grain: one row per scope whose current run gives its place to one of the given runs
update simulation_runs as runs
set
    superseded_by = reactivated.id,
    superseded_at = clock_timestamp()
from simulation_runs as reactivated
where
    reactivated.id = any(%(run_ids)s::bigint [])
    and reactivated.superseded_by is not null
    and runs.scope_key = reactivated.scope_key
    and runs.id <> reactivated.id
    and runs.status = 'completed'
    and runs.superseded_by is null
