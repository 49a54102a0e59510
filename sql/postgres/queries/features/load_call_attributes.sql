-- grain: one active call and one column asked for that its alert has a value in
-- keys: call_id, attribute
-- upstream: calls, alerts
-- What the import made of the alert comes before the row as it was read.
select
    calls.id as call_id,
    wanted.attribute,
    coalesce(alerts.attributes_json ->> wanted.attribute, alerts.raw_payload_json ->> wanted.attribute) as value
from calls
inner join alerts on calls.alert_id = alerts.id
cross join unnest(%(attributes)s::text []) as wanted (attribute)
where
    calls.is_active
    and coalesce(alerts.attributes_json ->> wanted.attribute, alerts.raw_payload_json ->> wanted.attribute) is not null
order by calls.id, wanted.attribute
