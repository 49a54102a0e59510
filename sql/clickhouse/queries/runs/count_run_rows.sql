-- grain: one row: what the given runs have, each row once
select
    (
        select toInt64(count())
        from simulation_events final
        where simulation_run_id in {run_ids:Array(UInt64)}
    ) as events,
    (
        select toInt64(count())
        from simulation_aggregates final
        where simulation_run_id in {run_ids:Array(UInt64)}
    ) as aggregates
