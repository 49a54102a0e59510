-- grain: one row per staged run key
-- keys: run_key
-- scope_matches is false where the key is stored for another scope: then the key leaves something out.
select
    runs.run_key,
    runs.id as run_id,
    runs.status = 'completed' as is_complete,
    runs.events_digest,
    runs.attempt,
    bool_and(runs.scope_key = staged.scope_key) as scope_matches
from simulation_runs as runs
inner join staged_runs as staged on runs.run_key = staged.run_key
group by runs.run_key, runs.id, runs.status, runs.events_digest, runs.attempt
