-- grain: one completed run: whose events and aggregates in ClickHouse are whole
select id as run_id
from simulation_runs
where status = 'completed'
order by id
