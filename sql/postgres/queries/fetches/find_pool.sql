-- grain: at most one row: the pool that stands for a token at a source
-- keys: token_id, source
-- upstream: token_pools
select
    token_pools.pool_address,
    token_pools.side,
    token_pools.pool_created_at
from token_pools
where
    token_pools.token_id = %(token_id)s
    and token_pools.source = %(source)s
