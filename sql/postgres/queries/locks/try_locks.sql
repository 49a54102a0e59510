-- grain: one name; is_held says whether this connection holds its lock now
-- keys: name
select
    names.name,
    pg_try_advisory_lock(hashtextextended(names.name, 0)) as is_held
from unnest(%(names)s::text []) as names (name)
