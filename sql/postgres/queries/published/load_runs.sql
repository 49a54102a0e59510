-- grain: one row per completed run that has a trace, as ClickHouse's published_runs mirrors it
-- keys: simulation_run_id
-- units: row_version = microseconds since the epoch of the row's last change
-- upstream: simulation_runs, simulation_results_summary, strategies, tokens
select
    runs.id as simulation_run_id,
    runs.run_type,
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    runs.config_hash,
    runs.engine_version,
    coalesce(tokens.chain, '') as chain,
    coalesce(tokens.address, '') as token_address,
    runs.window_start,
    runs.window_end,
    runs.superseded_by is null as is_current,
    summary.trade_count,
    runs.completed_at,
    runs.data_quality,
    (extract(epoch from runs.updated_at) * 1000000)::bigint as row_version
from simulation_runs as runs
inner join simulation_results_summary as summary on runs.id = summary.simulation_run_id
inner join strategies on runs.strategy_id = strategies.id
left join tokens on runs.token_id = tokens.id
where runs.status = 'completed' and runs.events_digest <> 'metrics-only'
order by runs.id
