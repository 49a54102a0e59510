-- grain: one imported candle of one token and interval, start_s <= timestamp < end_s
-- keys: timestamp
-- units: timestamp UTC seconds; prices in quote currency; flags as in 005_add_candle_flags.sql
-- Resampled candles are left out: an import of the same key is no repetition of them.
select
    c.chain as chain,
    c.token_address as token_address,
    c.interval as interval,
    c.timestamp as timestamp,
    c.open as open,
    c.high as high,
    c.low as low,
    c.close as close,
    c.volume as volume,
    c.flags as flags
from ohlcv_candles as c final
where
    c.chain = {chain:String}
    and c.token_address = {token_address:String}
    and c.interval = {interval:String}
    and c.timestamp >= toDateTime({start_s:UInt32}, 'UTC')
    and c.timestamp < toDateTime({end_s:UInt32}, 'UTC')
    and bitAnd(c.flags, 4) = 0
order by c.timestamp
-- A candle's partition follows from its key, so no key is in two partitions and none needs merging across.
settings do_not_merge_across_partitions_select_final = 1
