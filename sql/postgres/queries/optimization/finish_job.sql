-- grain: one row, unless the job is completed already
update optimization_jobs
set
    status = %(status)s,
    completed_at = case when %(status)s = 'completed' then clock_timestamp() end,
    error_message = %(error_message)s
where id = %(job_id)s and status <> 'completed'
