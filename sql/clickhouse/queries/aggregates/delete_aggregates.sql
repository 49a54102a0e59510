-- Removes the aggregates of the given runs; the caller knows that no reader may see them.
delete from simulation_aggregates where simulation_run_id in {run_ids:Array(UInt64)}
