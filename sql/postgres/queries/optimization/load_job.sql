-- grain: one row
-- keys: job_key
select
    jobs.id as job_id,
    -- A search that made all its trials, of which none has a score, failed with its times.
    jobs.status = 'completed' or (jobs.status = 'failed' and jobs.times_json is not null) as is_complete
from optimization_jobs as jobs
where jobs.job_key = %(job_key)s
