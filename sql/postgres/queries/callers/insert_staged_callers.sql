-- grain: one row per caller of the staged alerts that is not stored yet; sorted by key against deadlocks.
insert into callers (source, handle)
select distinct
    staged.caller_source,
    staged.caller_handle
from staged_alerts as staged
order by staged.caller_source, staged.caller_handle
on conflict (source, handle) do nothing
