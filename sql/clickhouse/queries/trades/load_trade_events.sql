-- The events of some trades.
-- grain: one row per event, by run, call and seq
-- keys: simulation_run_id, call_id, seq
-- parameters: run_ids and call_ids, of equal length: run k reports on call k
-- units: event_s in seconds since the epoch, UTC; else as in simulation_events
select
    toInt64(simulation_run_id) as simulation_run_id,
    call_id,
    seq,
    toInt64(toUnixTimestamp(event_time)) as event_s,
    toString(event_type) as event_type,
    price,
    size,
    remaining_position,
    pnl_so_far,
    indicators_json,
    position_state_json,
    metadata_json
from simulation_events final
where
    simulation_run_id in {run_ids:Array(UInt64)}
    and call_id in {call_ids:Array(Int64)}
    and (simulation_run_id, call_id) in arrayZip({run_ids:Array(UInt64)}, {call_ids:Array(Int64)})
order by simulation_run_id, call_id, seq
