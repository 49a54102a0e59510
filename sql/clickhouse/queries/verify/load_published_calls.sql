-- grain: one mirrored call with an id in (after_id, last_id]
-- keys: call_id
-- units: times in UTC seconds
select
    p.call_id as call_id,
    toString(p.caller_source) as caller_source,
    p.caller_handle as caller_handle,
    toString(p.chain) as chain,
    p.token_address as token_address,
    p.symbol as symbol,
    toInt64(toUInt32(p.signal_timestamp)) as signal_timestamp,
    toString(p.signal_type) as signal_type,
    toString(p.side) as side,
    p.alert_price as alert_price,
    p.alert_market_cap as alert_market_cap
from published_calls as p final
where p.call_id > {after_id:Int64} and p.call_id <= {last_id:Int64}
order by p.call_id
