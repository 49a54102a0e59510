-- Whether there is a run, whatever became of it.
-- grain: at most one row
-- parameters: simulation_run_id
select id as simulation_run_id
from simulation_runs
where id = %(simulation_run_id)s
