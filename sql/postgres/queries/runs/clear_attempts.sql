-- grain: one row per given run: its attempts so far can complete it no more
update simulation_runs
set cleared_attempt = attempt
where id = any(%(run_ids)s::bigint [])
