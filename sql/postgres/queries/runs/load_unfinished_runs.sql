-- grain: one row per run that is not completed and was last begun before a time
-- keys: run_id
-- Their rows in ClickHouse may be removed while nobody works on them: nobody reads them, and a new attempt writes them
-- again. Chain and address are null for a run over many tokens.
select
    runs.id as run_id,
    runs.status,
    runs.attempt,
    runs.claimed_at,
    runs.run_type,
    runs.scope_key,
    tokens.chain,
    tokens.address as token_address
from simulation_runs as runs
left join tokens on runs.token_id = tokens.id
where runs.status <> 'completed' and runs.claimed_at < %(claimed_before)s::timestamptz
order by runs.id
