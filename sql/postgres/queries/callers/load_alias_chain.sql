-- grain: one row per caller from the given one on, along the aliases, the given one first
-- keys: step
with recursive chain as (
    select
        %(caller_id)s::bigint as caller_id,
        0 as step
    union all
    select
        caller_aliases.canonical_caller_id,
        chain.step + 1
    from chain
    inner join caller_aliases on chain.caller_id = caller_aliases.caller_id
)

select
    chain.caller_id,
    callers.source,
    callers.handle,
    chain.step
from chain
inner join callers on chain.caller_id = callers.id
order by chain.step
