-- A search with everything that is stored of it besides its trials; the one that was completed last without job_id,
-- or, where none was, the last one of which no trial has a score.
-- grain: at most one row
-- parameters: job_id, or null
select
    jobs.id as job_id,
    jobs.name,
    jobs.status,
    jobs.objective,
    jobs.search_space_json,
    jobs.plan_json,
    jobs.data_json,
    jobs.tally_json,
    jobs.verdict_json,
    jobs.evidence_json,
    jobs.note,
    jobs.error_message,
    strategies.name as template,
    (
        select count(*)
        from optimization_trials as trials
        where trials.job_id = jobs.id
    ) as stored_count
from optimization_jobs as jobs
inner join strategies on jobs.strategy_template_id = strategies.id
where
    jobs.id = %(job_id)s::bigint
    or (
        %(job_id)s::bigint is null
        and (jobs.status = 'completed' or (jobs.status = 'failed' and jobs.times_json is not null))
    )
order by
    jobs.completed_at desc nulls last,
    jobs.id desc
limit 1
