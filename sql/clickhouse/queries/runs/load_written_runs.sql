-- grain: one run that has events or aggregates, by id, from after_id on
-- keys: simulation_run_id
select distinct toInt64(written.simulation_run_id) as simulation_run_id
from
(
    select simulation_run_id
    from simulation_events
    where toInt64(simulation_run_id) > {after_id:Int64}
    union all
    select simulation_run_id
    from simulation_aggregates
    where toInt64(simulation_run_id) > {after_id:Int64}
) as written
order by simulation_run_id
limit {row_limit:UInt32}
