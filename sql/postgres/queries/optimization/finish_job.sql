-- grain: one row, unless the job is completed already
update optimization_jobs
set
    status = %(status)s,
    completed_at = case when %(status)s = 'completed' then clock_timestamp() end,
    error_message = %(error_message)s,
    tally_json = coalesce(%(tally_json)s::jsonb, tally_json),
    verdict_json = %(verdict_json)s::jsonb,
    evidence_json = %(evidence_json)s::jsonb,
    times_json = %(times_json)s::jsonb,
    note = %(note)s
where id = %(job_id)s and status <> 'completed'
