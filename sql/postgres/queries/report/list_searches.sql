-- Parameter searches, the newest first.
-- grain: one row per job; job_count is the number of all
-- parameters: job_limit
select
    jobs.id as job_id,
    jobs.name,
    jobs.status,
    jobs.objective,
    strategies.name as template,
    jobs.verdict_json,
    jobs.created_at,
    jobs.completed_at,
    jobs.tally_json -> 'counts' as counts_json,
    (
        select count(*)
        from optimization_trials as trials
        where trials.job_id = jobs.id
    ) as stored_count,
    count(*) over () as job_count
from optimization_jobs as jobs
inner join strategies on jobs.strategy_template_id = strategies.id
order by jobs.id desc
limit %(job_limit)s
