-- Completed runs, with what is told of them beside a trade.
-- grain: one row per run
-- keys: simulation_run_id
-- parameters: run_ids
select
    toInt64(simulation_run_id) as simulation_run_id,
    run_type,
    strategy_name,
    strategy_version,
    toBool(is_current) as is_current,
    data_quality
from published_runs final
where simulation_run_id in {run_ids:Array(UInt64)}
