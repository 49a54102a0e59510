-- grain: one row per alert from which no call was derived yet, oldest first
-- keys: alert_id
-- upstream: alerts, calls
select
    alerts.id as alert_id,
    alerts.token_id,
    alerts.caller_id,
    alerts.side,
    alerts.signal_type,
    alerts.confidence,
    alerts.alert_price,
    alerts.alert_market_cap,
    alerts.alert_timestamp
from alerts
left join calls on alerts.id = calls.alert_id
where calls.id is null
order by alerts.alert_timestamp, alerts.id
