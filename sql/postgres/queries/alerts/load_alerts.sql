-- grain: one row per alert, oldest first: all that calls are derived from
-- keys: alert_id
-- units: canonical_caller_id is the caller once aliases are followed
-- upstream: alerts, tokens, canonical_callers
select
    alerts.id as alert_id,
    alerts.token_id,
    tokens.chain,
    tokens.address,
    alerts.caller_id,
    canonical.canonical_caller_id,
    alerts.side,
    alerts.signal_type,
    alerts.confidence,
    alerts.alert_timestamp
from alerts
inner join tokens on alerts.token_id = tokens.id
inner join canonical_callers as canonical on alerts.caller_id = canonical.caller_id
order by alerts.alert_timestamp, alerts.id
