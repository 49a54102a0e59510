-- What callers said, whether it was ever simulated or not.
-- grain: one row per caller, also one without a call; one who is another's alias has none, and counts for that one
-- keys: caller_id
-- units: times in UTC; alert_count >= call_count, as an alert gives at most one call
-- upstream: callers, caller_aliases, canonical_callers, alerts, stg_calls
-- depends: callers, caller_aliases, canonical_callers, alerts, stg_calls
-- test: unique(caller_id)
-- test: holds(call_count <= alert_count)
with
alerted as (
    select
        canonical.canonical_caller_id as caller_id,
        count(*) as alert_count
    from alerts
    inner join canonical_callers as canonical on alerts.caller_id = canonical.caller_id
    group by canonical.canonical_caller_id
),

called as (
    select
        caller_id,
        count(*) as call_count,
        count(distinct token_id) as token_count,
        min(signal_timestamp) as first_call_at,
        max(signal_timestamp) as last_call_at
    from stg_calls
    group by caller_id
)

select
    callers.id as caller_id,
    callers.source as caller_source,
    callers.handle as caller_handle,
    coalesce(alerted.alert_count, 0) as alert_count,
    coalesce(called.call_count, 0) as call_count,
    coalesce(called.token_count, 0) as token_count,
    called.first_call_at,
    called.last_call_at
from callers
left join alerted on callers.id = alerted.caller_id
left join called on callers.id = called.caller_id
left join caller_aliases on callers.id = caller_aliases.caller_id
where caller_aliases.caller_id is null
