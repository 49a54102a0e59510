-- grain: one row per active call with start <= signal_timestamp < end, of all tokens or of those named
-- keys: call_id
-- units: alert_price in quote currency, alert_market_cap in USD
-- upstream: calls, alerts, tokens, callers
-- A null in start, end or chains means: no such bound.
with wanted_tokens as (
    select tokens.id
    from unnest(%(chains)s::text [], %(addresses)s::text []) as wanted (chain, address)
    inner join tokens on wanted.chain = tokens.chain and wanted.address = tokens.address
)

select
    calls.id as call_id,
    calls.token_id,
    tokens.chain,
    tokens.address,
    calls.caller_id,
    callers.source,
    callers.handle,
    calls.side,
    calls.signal_type,
    calls.signal_timestamp,
    alerts.alert_price,
    alerts.alert_market_cap
from calls
inner join tokens on calls.token_id = tokens.id
inner join callers on calls.caller_id = callers.id
inner join alerts on calls.alert_id = alerts.id
where
    calls.is_active
    and (%(chains)s::text [] is null or calls.token_id in (select wanted_tokens.id from wanted_tokens))
    and calls.signal_timestamp >= coalesce(%(start)s::timestamptz, '-infinity')
    and calls.signal_timestamp < coalesce(%(end)s::timestamptz, 'infinity')
order by calls.signal_timestamp, calls.id
