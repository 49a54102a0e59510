-- What tokens are called.
-- grain: one row per token
-- parameters: none
select
    chain,
    address,
    symbol
from tokens
order by chain, address
