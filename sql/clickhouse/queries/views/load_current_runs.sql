-- What views of results rest on: both databases can agree only where these are the same in both.
-- grain: one completed, current backtest that was published
-- keys: simulation_run_id
select
    toInt64(simulation_run_id) as simulation_run_id,
    toString(data_quality) as data_quality
from published_runs as p final
where is_current and run_type = 'backtest'
order by p.simulation_run_id
