-- grain: one chain on which candles are stored of an address asked for
-- keys: token_address, chain
-- No final: duplicates don't matter here. Chain and address lead the primary key, so parts of these tokens alone
-- are read.
select distinct
    toString(c.token_address) as token_address,
    toString(c.chain) as chain
from ohlcv_candles as c
where
    c.chain in {chains:Array(String)}
    and c.token_address in {addresses:Array(String)}
order by token_address, chain
