-- Removes the events of the given runs; the caller knows that no reader may see them.
delete from simulation_events where simulation_run_id in {run_ids:Array(UInt64)}
