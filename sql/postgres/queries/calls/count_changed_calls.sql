-- grain: one row: what a derivation changed of the calls that were stored
-- units: changed counts calls of another token, caller or kind; stayed active or not
select
    count(*) as touched,
    count(*) filter (where is_another) as changed,
    count(*) filter (where was_active and not is_active) as deactivated,
    count(*) filter (where is_active and not was_active) as reactivated
from changed_calls
