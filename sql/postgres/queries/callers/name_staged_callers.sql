-- grain: one row per caller whose newest alert is a staged one that shows another name
with named as (
    select distinct on (staged.caller_source, staged.caller_handle)
        staged.caller_source,
        staged.caller_handle,
        staged.caller_name,
        staged.alert_timestamp
    from staged_alerts as staged
    where staged.caller_name is not null
    order by
        staged.caller_source,
        staged.caller_handle,
        staged.alert_timestamp desc,
        staged.caller_name
)

update callers
set display_name = named.caller_name
from named
where
    callers.source = named.caller_source
    and callers.handle = named.caller_handle
    and callers.display_name is distinct from named.caller_name
    and (
        callers.display_name is null
        or not exists (
            select 1
            from alerts
            where alerts.caller_id = callers.id and alerts.alert_timestamp > named.alert_timestamp
        )
    )
