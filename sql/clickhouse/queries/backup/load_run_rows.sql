-- grain: one row of some runs. All columns: what is copied must be whole.
select *
from {table:Identifier} final
where simulation_run_id in {run_ids:Array(UInt64)}
