-- grain: one candle of one token and interval, start_s <= timestamp < end_s
-- keys: timestamp
-- units: timestamp UTC seconds; prices in quote currency
select
    c.chain as chain,
    c.token_address as token_address,
    c.interval as interval,
    c.timestamp as timestamp,
    c.open as open,
    c.high as high,
    c.low as low,
    c.close as close,
    c.volume as volume
from ohlcv_candles as c final
where
    c.chain = {chain:String}
    and c.token_address = {token_address:String}
    and c.interval = {interval:String}
    and c.timestamp >= toDateTime({start_s:UInt32}, 'UTC')
    and c.timestamp < toDateTime({end_s:UInt32}, 'UTC')
order by c.timestamp
-- A candle's partition follows from its key, so no key is in two partitions and none needs merging across.
settings do_not_merge_across_partitions_select_final = 1
