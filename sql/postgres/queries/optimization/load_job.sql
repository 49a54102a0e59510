-- grain: one row
-- keys: job_key
select
    jobs.id as job_id,
    jobs.status = 'completed' as is_complete
from optimization_jobs as jobs
where jobs.job_key = %(job_key)s
