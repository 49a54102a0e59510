-- Counts and ends of what Postgres holds.
-- grain: one row
-- units: times in seconds since the epoch, UTC; null when there is nothing
select
    (select count(*) from callers) as callers,
    (select count(*) from alerts) as alerts,
    (
        select coalesce(sum(rows_duplicate), 0)::bigint
        from imports
        where kind = 'alerts' and status = 'completed'
    ) as duplicates,
    (select count(*) from calls where is_active) as calls,
    (select count(*) from quarantine) as quarantined,
    (select count(*) from simulation_runs where status = 'completed') as runs_completed,
    (select count(*) from int_run_results) as runs_current,
    (select count(*) from simulation_runs where status = 'failed') as runs_failed,
    (select count(*) from simulation_runs where status in ('pending', 'running')) as runs_unfinished,
    (select extract(epoch from min(signal_timestamp))::bigint from calls where is_active) as first_call_s,
    (select extract(epoch from max(signal_timestamp))::bigint from calls where is_active) as last_call_s
