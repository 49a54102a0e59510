-- grain: one row per staged token
-- keys: chain, address
-- upstream: tokens, staged_tokens
select
    tokens.chain,
    tokens.address,
    tokens.id
from tokens
inner join (select distinct chain, address from staged_tokens) as staged
    on tokens.chain = staged.chain and tokens.address = staged.address
