-- grain: one row per caller, with how much it said and who it is once aliases are followed
-- keys: caller_id
-- units: alert_count as the caller said them, call_count active calls that count for it (those of its aliases too)
-- upstream: callers, caller_aliases, canonical_callers, alerts, calls
with said as (
    select
        alerts.caller_id,
        count(*) as alert_count,
        min(alerts.alert_timestamp) as first_alert_at,
        max(alerts.alert_timestamp) as last_alert_at
    from alerts
    group by alerts.caller_id
),

called as (
    select
        calls.caller_id,
        count(*) as call_count
    from calls
    where calls.is_active
    group by calls.caller_id
)

select
    callers.id as caller_id,
    callers.source,
    callers.handle,
    callers.display_name,
    aliases.canonical_caller_id as alias_of_id,
    canonical.canonical_caller_id,
    coalesce(said.alert_count, 0) as alert_count,
    coalesce(called.call_count, 0) as call_count,
    said.first_alert_at,
    said.last_alert_at
from callers
inner join canonical_callers as canonical on callers.id = canonical.caller_id
left join caller_aliases as aliases on callers.id = aliases.caller_id
left join said on callers.id = said.caller_id
left join called on callers.id = called.caller_id
order by callers.source, callers.handle
