-- Calls by their ids.
-- grain: one row per call
-- keys: call_id
-- parameters: call_ids
-- units: signal_s in seconds since the epoch, UTC; symbol empty where it is not known
select
    call_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    coalesce(symbol, '') as symbol,
    toInt64(toUnixTimestamp(signal_timestamp)) as signal_s
from published_calls final
where call_id in {call_ids:Array(Int64)}
