-- grain: one row per run that is not completed and was last begun before a time
-- keys: run_id
-- Their rows in ClickHouse may be removed: nobody reads them, and a new attempt writes them again.
select
    runs.id as run_id,
    runs.status,
    runs.attempt,
    runs.claimed_at
from simulation_runs as runs
where runs.status <> 'completed' and runs.claimed_at < %(claimed_before)s::timestamptz
order by runs.id
