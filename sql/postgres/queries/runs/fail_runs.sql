-- grain: one row per given run that is not completed
update simulation_runs as runs
set
    status = 'failed',
    error_message = failures.error_message
from unnest(%(run_ids)s::bigint [], %(error_messages)s::text []) as failures (run_id, error_message)
where runs.id = failures.run_id and runs.status <> 'completed'
