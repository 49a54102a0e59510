-- grain: one token of whose candles something is remembered, by chain and address, after one that was looked at
-- keys: chain, token_address
select distinct
    toString(c.chain) as chain,
    toString(c.token_address) as token_address
from candle_contents as c
where (toString(c.chain), toString(c.token_address)) > ({after_chain:String}, {after_token_address:String})
order by chain, token_address
limit {row_limit:UInt64}
