-- A call, whether or not it is active.
-- grain: at most one row
-- parameters: call_id
-- units: signal_s in seconds since the epoch, UTC; symbol empty where it is not known
select
    call_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    coalesce(symbol, '') as symbol,
    toInt64(toUnixTimestamp(signal_timestamp)) as signal_s,
    signal_type,
    side
from published_calls final
where call_id = {call_id:Int64}
