-- grain: one mirrored run with an id in (after_id, last_id]
-- keys: simulation_run_id
-- units: times in UTC seconds
select
    toInt64(simulation_run_id) as simulation_run_id,
    toString(run_type) as run_type,
    toString(strategy_name) as strategy_name,
    toString(strategy_version) as strategy_version,
    config_hash,
    toString(engine_version) as engine_version,
    toString(chain) as chain,
    token_address,
    toInt64(toUInt32(window_start)) as window_start,
    toInt64(toUInt32(window_end)) as window_end,
    is_current,
    toInt64(trade_count) as trade_count,
    toInt64(toUInt32(completed_at)) as completed_at,
    toString(data_quality) as data_quality
from published_runs as p final
where p.simulation_run_id > {after_id:Int64} and p.simulation_run_id <= {last_id:Int64}
order by p.simulation_run_id
