-- grain: one row: how many events completed runs said that they wrote
-- upstream: simulation_results_summary
select coalesce(sum((metadata_json ->> 'event_count')::bigint), 0)::bigint as run_events
from simulation_results_summary
