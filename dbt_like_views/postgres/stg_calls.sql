-- Calls in force, with who made them (aliases followed) and on which token.
-- grain: one row per active call
-- keys: call_id
-- units: signal_timestamp in UTC; alert_price in quote currency, null where the alert gave none
-- upstream: calls, alerts, callers, tokens
-- depends: calls, alerts, callers, tokens
-- test: unique(call_id)
-- test: not_null(caller_handle)
-- test: accepted(signal_type, entry, exit, scale_in, scale_out)
select
    calls.id as call_id,
    calls.alert_id,
    calls.caller_id,
    callers.source as caller_source,
    callers.handle as caller_handle,
    calls.token_id,
    tokens.chain,
    tokens.address as token_address,
    tokens.symbol,
    calls.side,
    calls.signal_type,
    calls.signal_timestamp,
    alerts.alert_price
from calls
inner join alerts on calls.alert_id = alerts.id
inner join callers on calls.caller_id = callers.id
inner join tokens on calls.token_id = tokens.id
where calls.is_active
