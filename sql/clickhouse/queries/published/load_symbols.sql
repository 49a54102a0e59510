-- grain: one token that calls were made on
-- keys: chain, token_address
select
    c.chain as chain,
    c.token_address as token_address,
    argMax(c.symbol, c.row_version) as symbol
from published_calls as c final
group by chain, token_address
order by chain, token_address
