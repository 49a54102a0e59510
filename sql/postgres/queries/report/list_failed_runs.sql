-- Why runs failed, the most frequent reason first.
-- grain: one row per strategy version and message; the first of its runs as an example
-- parameters: reason_limit
select
    strategies.name as strategy_name,
    strategies.version as strategy_version,
    runs.error_message,
    count(*) as run_count,
    min(runs.id) as first_run_id
from simulation_runs as runs
inner join strategies on runs.strategy_id = strategies.id
where runs.status = 'failed'
group by strategies.name, strategies.version, runs.error_message
order by count(*) desc, min(runs.id)
limit %(reason_limit)s
