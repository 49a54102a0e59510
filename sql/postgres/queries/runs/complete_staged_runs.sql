-- grain: one row per staged run that is not completed yet; current, or superseded at once when the scope
-- has a run that was claimed later. A run that was measured without a trace gets the one that came of it now.
update simulation_runs as runs
set
    status = 'completed',
    completed_at = clock_timestamp(),
    events_digest = staged.events_digest,
    error_message = null,
    data_quality = staged.data_quality,
    data_quality_json = staged.data_quality_json,
    superseded_by = nullif(successors.id, runs.id),
    superseded_at = case when successors.id <> runs.id then clock_timestamp() end
from staged_summaries as staged, staged_successors as successors
where
    runs.id = staged.simulation_run_id
    and runs.scope_key = successors.scope_key
    and (
        runs.status <> 'completed'
        or (runs.events_digest = 'metrics-only' and staged.events_digest <> 'metrics-only')
    )
