-- grain: one staged run whose attempt was taken for dead: what it wrote was removed meanwhile
-- keys: id
select
    runs.id,
    runs.cleared_attempt
from simulation_runs as runs
inner join staged_summaries as staged on runs.id = staged.simulation_run_id
where runs.status <> 'completed' and staged.attempt <= runs.cleared_attempt
order by runs.id
