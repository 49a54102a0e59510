-- grain: one row: inserted as running, or taken over unless it came to its end as it was asked for: completed without
--   a note, or failed with the times of a search that made all its trials, of which none has a score
insert into optimization_jobs (
    strategy_template_id,
    name,
    search_space_json,
    objective,
    plan_json,
    data_json,
    job_key,
    status,
    started_at
)
values (
    %(strategy_template_id)s,
    %(name)s,
    %(search_space_json)s,
    %(objective)s,
    %(plan_json)s,
    %(data_json)s,
    %(job_key)s,
    'running',
    clock_timestamp()
)
on conflict (job_key) do update
set
    status = 'running',
    started_at = clock_timestamp(),
    completed_at = null,
    error_message = null,
    note = null,
    verdict_json = null,
    evidence_json = null
where
    (optimization_jobs.status <> 'completed' or optimization_jobs.note is not null)
    and not (optimization_jobs.status = 'failed' and optimization_jobs.times_json is not null)
