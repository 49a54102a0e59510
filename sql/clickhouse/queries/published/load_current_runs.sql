-- grain: one current completed run
-- keys: simulation_run_id
select
    toInt64(r.simulation_run_id) as simulation_run_id,
    r.run_type as run_type,
    r.strategy_name as strategy_name,
    r.strategy_version as strategy_version,
    r.chain as chain,
    r.token_address as token_address
from published_runs as r final
where r.is_current
order by r.simulation_run_id
