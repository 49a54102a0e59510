-- grain: one run; row_count holds double rows that are not merged yet
select
    toInt64(simulation_run_id) as run_id,
    toInt64(count()) as row_count
from {table:Identifier}
group by run_id
order by run_id
