-- grain: one row: inserted as running, or taken over unless it is completed
insert into optimization_jobs (
    strategy_template_id,
    name,
    search_space_json,
    objective,
    job_key,
    status,
    started_at
)
values (
    %(strategy_template_id)s,
    %(name)s,
    %(search_space_json)s,
    %(objective)s,
    %(job_key)s,
    'running',
    clock_timestamp()
)
on conflict (job_key) do update
set
    status = 'running',
    started_at = clock_timestamp(),
    error_message = null
where optimization_jobs.status <> 'completed'
