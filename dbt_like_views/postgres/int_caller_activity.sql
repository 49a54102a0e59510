/*
description: What did callers say, whether it was ever simulated or not?
grain: one row per caller, also one without a call; one who is another's alias has none, and counts for that one
columns:
  caller_id: {meaning: "Caller's id in Postgres, aliases followed"}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  alert_count: {meaning: Alerts of the caller; at least as many as calls, unit: alerts}
  call_count: {meaning: Calls of the caller, unit: calls}
  token_count: {meaning: Tokens that the caller called, unit: tokens}
  first_call_at: {meaning: Moment of the first call, unit: UTC}
  last_call_at: {meaning: Moment of the last call, unit: UTC}
tests:
  - unique: [caller_id]
  - expression: call_count <= alert_count
*/
with
alerted as (
    select
        canonical.canonical_caller_id as caller_id,
        count(*) as alert_count
    from {{ source('alerts') }} as alerts
    inner join {{ source('canonical_callers') }} as canonical on alerts.caller_id = canonical.caller_id
    group by canonical.canonical_caller_id
),

called as (
    select
        caller_id,
        count(*) as call_count,
        count(distinct token_id) as token_count,
        min(signal_timestamp) as first_call_at,
        max(signal_timestamp) as last_call_at
    from {{ ref('stg_calls') }}
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
from {{ source('callers') }} as callers
left join alerted on callers.id = alerted.caller_id
left join called on callers.id = called.caller_id
left join {{ source('caller_aliases') }} as caller_aliases on callers.id = caller_aliases.caller_id
where caller_aliases.caller_id is null
