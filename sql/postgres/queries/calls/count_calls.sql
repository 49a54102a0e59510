-- grain: one row: calls in force, and those that the rules in force do not make, by why
-- upstream: calls
select
    count(*) filter (where calls.is_active) as active,
    count(*) filter (where not calls.is_active) as inactive
from calls
