-- grain: one row per caller given
update callers
set attributes_json = given.attributes_json
from
    unnest(%(caller_ids)s::bigint [], %(attributes)s::jsonb []) as given (caller_id, attributes_json)
where callers.id = given.caller_id
