-- grain: one call, by id, from after_id on, as ClickHouse's published_calls mirrors it
-- keys: call_id
-- units: times in UTC seconds
select
    calls.id as call_id,
    callers.source as caller_source,
    callers.handle as caller_handle,
    tokens.chain,
    tokens.address as token_address,
    tokens.symbol,
    floor(extract(epoch from calls.signal_timestamp))::bigint as signal_timestamp,
    calls.signal_type,
    calls.side,
    alerts.alert_price,
    alerts.alert_market_cap
from calls
inner join alerts on calls.alert_id = alerts.id
inner join tokens on calls.token_id = tokens.id
inner join callers on calls.caller_id = callers.id
where calls.id > %(after_id)s
order by calls.id
limit %(row_limit)s
