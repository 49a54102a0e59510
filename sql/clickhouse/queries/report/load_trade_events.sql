-- The events of one trade.
-- grain: one row per event, in order
-- parameters: simulation_run_id, call_id
-- units: time in seconds since the epoch, UTC; else as in simulation_events
select
    seq,
    toInt64(toUnixTimestamp(event_time)) as event_s,
    toString(event_type) as event_type,
    price,
    size,
    remaining_position,
    pnl_so_far,
    position_state_json,
    metadata_json
from simulation_events final
where simulation_run_id = {simulation_run_id:UInt64} and call_id = {call_id:Int64}
order by seq
