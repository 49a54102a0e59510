-- grain: one event of the given runs
-- keys: simulation_run_id, call_id, seq
-- units: event_time UTC seconds; see simulation_events
select
    e.simulation_run_id as simulation_run_id,
    e.chain as chain,
    e.token_address as token_address,
    e.call_id as call_id,
    e.seq as seq,
    e.event_time as event_time,
    e.event_type as event_type,
    e.price as price,
    e.size as size,
    e.remaining_position as remaining_position,
    e.pnl_so_far as pnl_so_far,
    e.indicators_json as indicators_json,
    e.position_state_json as position_state_json,
    e.metadata_json as metadata_json
from simulation_events as e final
where e.simulation_run_id in {run_ids:Array(UInt64)}
order by e.simulation_run_id, e.call_id, e.seq
