-- What views of results rest on: both databases can agree only where these are the same in both.
-- grain: one completed, current backtest
-- keys: simulation_run_id
select
    id as simulation_run_id,
    data_quality
from simulation_runs
where status = 'completed' and superseded_by is null and run_type = 'backtest'
order by id
