-- grain: one import that was begun after a given one, or is among those that wait, oldest first
-- keys: import_id
-- units: is_settled = it is completed, and each alert that it brought has its call
-- upstream: imports, alerts, calls
select
    imports.id as import_id,
    imports.kind,
    imports.details_json,
    imports.status = 'completed'
    and not exists (
        select 1
        from alerts
        left join calls on alerts.id = calls.alert_id
        where alerts.import_id = imports.id and calls.id is null
    ) as is_settled
from imports
where imports.id > %(after)s::bigint or imports.id = any(%(waiting)s::bigint [])
order by imports.id
