-- grain: one current completed backtest run of a strategy
-- keys: simulation_run_id
-- units: interval_seconds, length of the longest candles that the run read
-- upstream: simulation_runs, strategies
select
    runs.id as simulation_run_id,
    coalesce(
        (
            select max(seconds.value::bigint)
            from jsonb_array_elements_text(runs.data_selection_json -> 'intervals_seconds') as seconds (value)
        ),
        0
    ) as interval_seconds
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
where
    runs.status = 'completed'
    and runs.superseded_by is null
    and runs.run_type = 'backtest'
    and strategies.name = %(strategy)s
order by runs.id
