-- grain: one row: how many tokens completed runs read, each run's by themselves
-- upstream: simulation_runs
select coalesce(sum(jsonb_array_length(data_selection_json -> 'tokens')), 0)::bigint as run_tokens
from simulation_runs
where status = 'completed'
