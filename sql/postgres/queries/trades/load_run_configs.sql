-- What completed runs simulated, and the candles that they read.
-- grain: one row per run
-- keys: simulation_run_id
-- parameters: run_ids
-- units: tokens as chain:address, with the length in seconds of their candles at the same place of intervals_seconds
select
    id as simulation_run_id,
    config_json,
    data_selection_json -> 'tokens' as tokens,
    data_selection_json -> 'intervals_seconds' as intervals_seconds
from simulation_runs
where id = any(%(run_ids)s)
