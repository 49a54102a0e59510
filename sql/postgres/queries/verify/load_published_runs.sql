-- grain: one completed run that has a trace, by id, from after_id on, as ClickHouse's published_runs mirrors it
-- keys: simulation_run_id
-- units: times in UTC seconds
select
    runs.id as simulation_run_id,
    runs.run_type,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    runs.config_hash,
    runs.engine_version,
    coalesce(tokens.chain, '') as chain,
    coalesce(tokens.address, '') as token_address,
    floor(extract(epoch from runs.window_start))::bigint as window_start,
    floor(extract(epoch from runs.window_end))::bigint as window_end,
    runs.superseded_by is null as is_current,
    summary.trade_count,
    floor(extract(epoch from runs.completed_at))::bigint as completed_at,
    runs.data_quality
from simulation_runs as runs
inner join simulation_results_summary as summary on runs.id = summary.simulation_run_id
inner join strategies on runs.strategy_id = strategies.id
left join tokens on runs.token_id = tokens.id
where runs.status = 'completed' and runs.events_digest <> 'metrics-only' and runs.id > %(after_id)s
order by runs.id
limit %(row_limit)s
