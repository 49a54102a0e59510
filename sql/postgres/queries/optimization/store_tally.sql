-- grain: one row, unless the job is completed already
update optimization_jobs
set tally_json = %(tally_json)s
where id = %(job_id)s and status <> 'completed'
