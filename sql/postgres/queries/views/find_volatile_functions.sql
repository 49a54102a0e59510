-- grain: one function that a statement calls, itself or through an operator, and that may do more than answer
-- The statement is the one of the session's temporary view; which of several functions of a name is meant is decided.
select distinct functions.proname as function_name
from pg_catalog.pg_rewrite as rules
cross join
    pg_catalog.regexp_matches(
        rules.ev_action::text, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g'
    ) as called (ids)
inner join pg_catalog.pg_proc as functions on called.ids[1]::oid = functions.oid
where
    rules.ev_class = pg_catalog.to_regclass('pg_temp.quantbot_statement')::oid
    and functions.provolatile = 'v'
order by function_name
