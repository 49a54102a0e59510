-- The configuration that a run simulated.
-- grain: at most one row
-- parameters: simulation_run_id
select config_json
from simulation_runs
where id = %(simulation_run_id)s
