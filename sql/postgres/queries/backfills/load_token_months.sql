-- grain: one token-month that a backfill came to
-- keys: chain, token_address, month
select
    outcomes.chain,
    outcomes.token_address,
    outcomes.month,
    outcomes.status,
    outcomes.reason
from backfill_token_months as outcomes
where outcomes.backfill_id = %(backfill_id)s
order by outcomes.chain, outcomes.token_address, outcomes.month
