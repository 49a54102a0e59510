-- What the candles were like that runs read, and what the runs read.
-- grain: one row per run
-- parameters: run_ids
select
    runs.id as run_id,
    runs.status,
    runs.run_type,
    runs.superseded_by,
    runs.error_message,
    runs.attempt,
    runs.data_quality,
    runs.data_quality_json,
    runs.data_selection_json,
    runs.config_hash,
    runs.events_digest,
    strategies.name as strategy_name,
    strategies.version as strategy_version
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
where runs.id = any(%(run_ids)s::bigint [])
order by runs.id
