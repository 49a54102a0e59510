-- grain: one row per given run that was superseded
update simulation_runs
set
    superseded_by = null,
    superseded_at = null,
    claimed_at = clock_timestamp()
where id = any(%(run_ids)s::bigint []) and superseded_by is not null
