-- grain: one run, by id, from after_id on: what its key is made of
-- keys: id
select
    id,
    run_key,
    engine_version,
    config_hash,
    data_selection_json
from simulation_runs
where id > %(after_id)s
order by id
limit %(row_limit)s
