-- grain: one run of the scopes asked for that no other took the place of: the current one, failed and unfinished ones
-- keys: run_id
-- units: final_pnl as a fraction of the capital per trade
-- settled_at: when it was completed, or became current again: that changes what is known of its inputs
select
    runs.scope_key,
    runs.id as run_id,
    runs.status,
    runs.engine_version,
    runs.config_hash,
    inputs.inputs_stamp,
    greatest(runs.completed_at, inputs.stamped_at) as settled_at,
    summary.trade_count,
    summary.final_pnl
from simulation_runs as runs
left join simulation_run_inputs as inputs on runs.id = inputs.simulation_run_id
left join simulation_results_summary as summary on runs.id = summary.simulation_run_id
where runs.scope_key = any(%(scope_keys)s::text []) and runs.superseded_by is null
order by runs.scope_key, runs.claimed_at, runs.id
