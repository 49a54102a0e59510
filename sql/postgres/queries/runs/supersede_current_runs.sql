-- grain: one row per scope whose current run gives its place to a staged one. Runs before the new current
-- run is completed: the unique index allows one current run per scope at every moment.
update simulation_runs as runs
set
    superseded_by = successors.id,
    superseded_at = clock_timestamp()
from staged_successors as successors
where
    runs.scope_key = successors.scope_key
    and runs.status = 'completed'
    and runs.superseded_by is null
    and runs.id <> successors.id
