-- grain: one of the given calls that exists
-- keys: id
select id
from calls
where id = any(%(call_ids)s::bigint [])
