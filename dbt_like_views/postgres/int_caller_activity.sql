-- What callers said, whether it was ever simulated or not.
-- grain: one row per caller, also one without a call
-- keys: caller_id
-- units: times in UTC; alert_count >= call_count, as an alert gives at most one call
-- upstream: callers, alerts, stg_calls
-- depends: callers, alerts, stg_calls
-- test: unique(caller_id)
-- test: holds(call_count <= alert_count)
with
alerted as (
    select
        caller_id,
        count(*) as alert_count
    from alerts
    group by caller_id
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
