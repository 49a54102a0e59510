-- grain: one row: inserted as running, or taken over unless it came to its end as it was asked for: completed without
--   a note, or failed with the times of a search that made all its trials, of which none has a score
-- What is there already is not inserted in vain, which would use up a number: jobs are known by theirs.
with taken_over as (
    update optimization_jobs
    set
        status = 'running',
        started_at = clock_timestamp(),
        completed_at = null,
        error_message = null,
        note = null,
        verdict_json = null,
        evidence_json = null
    where
        job_key = %(job_key)s
        and (status <> 'completed' or note is not null)
        and not (status = 'failed' and times_json is not null)
)

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
select
    %(strategy_template_id)s,
    %(name)s,
    %(search_space_json)s::jsonb,
    %(objective)s,
    %(plan_json)s::jsonb,
    %(data_json)s::jsonb,
    %(job_key)s,
    'running',
    clock_timestamp()
where
    not exists (
        select 1
        from optimization_jobs as jobs
        where jobs.job_key = %(job_key)s
    )
on conflict (job_key) do nothing
