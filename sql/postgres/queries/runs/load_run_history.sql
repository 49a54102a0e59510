-- grain: one row per run, whatever its status, in the order of their first claim
-- keys: simulation_run_id
-- upstream: simulation_runs
select
    runs.id as simulation_run_id,
    runs.run_key,
    runs.scope_key,
    runs.run_type,
    runs.status,
    runs.attempt,
    runs.error_message,
    runs.claimed_at,
    runs.completed_at,
    runs.superseded_by,
    runs.superseded_at
from simulation_runs as runs
order by runs.id
