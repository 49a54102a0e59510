-- grain: one row per caller of the staged alerts, locked by key
-- keys: caller_id
select
    callers.id as caller_id,
    callers.source,
    callers.handle,
    callers.attributes_json
from callers
where (callers.source, callers.handle) in (
    select
        staged.caller_source,
        staged.caller_handle
    from staged_alerts as staged
)
order by callers.source, callers.handle
for update
