-- Locks the rows that exist already, by id: every writer of runs locks in this order, so none deadlocks.
select runs.id
from simulation_runs as runs
inner join (select distinct run_key from staged_runs) as staged on runs.run_key = staged.run_key
order by runs.id
for update of runs
