-- grain: one of the given calls that exists
-- keys: id
-- units: UTC seconds, rounded up as the engine does
select
    id,
    ceil(extract(epoch from signal_timestamp))::bigint as signal_s
from calls
where id = any(%(call_ids)s::bigint [])
