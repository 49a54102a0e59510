-- grain: at most one row
-- keys: id
select jobs.status
from optimization_jobs as jobs
where jobs.id = %(job_id)s
