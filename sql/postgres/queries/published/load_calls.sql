-- grain: one row per call, also one that is out of force (older runs refer to it), as ClickHouse's published_calls mirrors it
-- keys: call_id
-- units: row_version = microseconds since the epoch of the last change of the call, its alert or its token
-- upstream: calls, alerts, tokens, callers
select
    calls.id as call_id,
    callers.source as caller_source,
    callers.handle as caller_handle,
    tokens.chain,
    tokens.address as token_address,
    tokens.symbol,
    calls.signal_timestamp,
    calls.signal_type,
    calls.side,
    alerts.alert_price,
    alerts.alert_market_cap,
    (
        extract(epoch from greatest(calls.updated_at, alerts.updated_at, tokens.updated_at)) * 1000000
    )::bigint as row_version
from calls
inner join alerts on calls.alert_id = alerts.id
inner join tokens on calls.token_id = tokens.id
inner join callers on calls.caller_id = callers.id
order by calls.id
