-- grain: one run that a view shows, by id, from after_id on
-- keys: simulation_run_id
select distinct toInt64(shown.simulation_run_id) as simulation_run_id
from
(
    select simulation_run_id
    from stg_runs
    where simulation_run_id > {after_id:Int64}
    union all
    select simulation_run_id
    from stg_events
    where simulation_run_id > {after_id:Int64}
    union all
    select simulation_run_id
    from stg_aggregates
    where simulation_run_id > {after_id:Int64}
    union all
    select simulation_run_id
    from int_current_backtests
    where simulation_run_id > {after_id:Int64}
    union all
    select simulation_run_id
    from mart_runs_ranked
    where simulation_run_id > {after_id:Int64}
) as shown
order by simulation_run_id
limit {row_limit:UInt32}
