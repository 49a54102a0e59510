-- grain: one row per staged run key that is not completed: inserted, or taken over from a dead attempt.
-- Two claimers of one key both get it; what they compute and write is the same, and the first one completes it.
insert into simulation_runs (
    strategy_id,
    token_id,
    caller_id,
    run_type,
    engine_version,
    config_hash,
    config_json,
    data_selection_json,
    run_key,
    scope_key,
    window_start,
    window_end,
    status,
    started_at
)
select distinct on (staged.run_key)
    staged.strategy_id,
    staged.token_id,
    staged.caller_id,
    staged.run_type,
    staged.engine_version,
    staged.config_hash,
    staged.config_json,
    staged.data_selection_json,
    staged.run_key,
    staged.scope_key,
    staged.window_start,
    staged.window_end,
    'running' as status,
    clock_timestamp() as started_at
from staged_runs as staged
order by staged.run_key
on conflict (run_key) do update
set
    status = 'running',
    attempt = simulation_runs.attempt + 1,
    claimed_at = clock_timestamp(),
    started_at = clock_timestamp(),
    error_message = null
where simulation_runs.status <> 'completed'
