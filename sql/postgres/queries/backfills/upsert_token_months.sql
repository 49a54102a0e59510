-- grain: one row per token-month given; what became of it last stands
insert into backfill_token_months (backfill_id, chain, token_address, month, status, reason)
select
    %(backfill_id)s as backfill_id,
    outcomes.chain,
    outcomes.token_address,
    outcomes.month,
    case when outcomes.reason is null then 'done' else 'failed' end as status,
    outcomes.reason
from
    unnest(%(chains)s::text [], %(token_addresses)s::text [], %(months)s::text [], %(reasons)s::text [])
        as outcomes (chain, token_address, month, reason)
order by outcomes.chain, outcomes.token_address, outcomes.month
on conflict (backfill_id, chain, token_address, month) do update
set
    status = excluded.status,
    reason = excluded.reason,
    recorded_at = clock_timestamp()
