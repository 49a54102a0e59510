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
    jobs.error_message,
    templates.config_json as template_json
from optimization_jobs as jobs
inner join strategies as templates on jobs.strategy_template_id = templates.id
where jobs.id = %(job_id)s
