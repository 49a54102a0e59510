-- grain: at most one row
-- keys: id
select
    jobs.id as job_id,
    jobs.name,
    jobs.job_key,
    jobs.strategy_template_id,
    jobs.search_space_json,
    jobs.objective,
    jobs.status,
    jobs.plan_json,
    jobs.data_json,
    jobs.tally_json,
    jobs.verdict_json,
    jobs.note,
    jobs.error_message
from optimization_jobs as jobs
where jobs.id = %(job_id)s
