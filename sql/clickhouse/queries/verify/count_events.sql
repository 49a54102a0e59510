-- grain: one of the given runs that has events
-- keys: simulation_run_id
select
    toInt64(e.simulation_run_id) as simulation_run_id,
    toInt64(count()) as event_count
from simulation_events as e final
where e.simulation_run_id in {run_ids:Array(UInt64)}
group by e.simulation_run_id
