-- Locks every run of the scopes of the given runs, by id. Two transactions that complete runs of one scope
-- share at least one of these rows, so one waits for the other and then sees what it did.
select
    runs.id,
    runs.status
from simulation_runs as runs
where runs.scope_key in (
    select wanted.scope_key
    from simulation_runs as wanted
    where wanted.id = any(%(run_ids)s::bigint [])
)
order by runs.id
for update
