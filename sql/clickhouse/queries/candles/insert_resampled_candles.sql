-- grain: one bucket of target_seconds of one token that holds candles of the source interval
-- keys: chain, token_address, timestamp
-- units: timestamp UTC seconds, aligned to the epoch; prices in quote currency, volume in base currency
-- upstream: ohlcv_candles of the source interval, read final; imported and resampled ones alike
-- open is the first source candle's, close the last one's, high and low the extremes; volume is added up in the
-- order of time, so that the same rows give the same bits however the server shares the work out.
-- A bucket that ends after the series' last candle is still open: it is left out unless include_open is 1.
-- Rows are left out that are stored with these values already, and where an imported candle has the key. Should one
-- come later or at the same time, it wins: its version is 50 years (1577836800 seconds) ahead.
insert into ohlcv_candles
(
    chain,
    token_address,
    interval,
    timestamp,
    open,
    high,
    low,
    close,
    volume,
    imported_at,
    flags
)
with series as
(
    select
        token_address,
        toInt64(toUnixTimestamp(max(timestamp))) + {source_seconds:Int64} as end_s
    from ohlcv_candles
    where
        chain = {chain:String}
        and interval = {source_interval:String}
        and token_address in {token_addresses:Array(String)}
    group by token_address
),

buckets as
(
    select
        s.token_address as token_address,
        intDiv(toInt64(toUnixTimestamp(s.timestamp)), {target_seconds:Int64}) * {target_seconds:Int64} as bucket_s,
        argMin(s.open, s.timestamp) as open,
        max(s.high) as high,
        min(s.low) as low,
        argMax(s.close, s.timestamp) as close,
        arraySum(arrayMap(p -> p.2, arraySort(groupArray((s.timestamp, s.volume))))) as volume,
        bitOr(bitAnd(groupBitOr(s.flags), 3), 4) as flags
    from ohlcv_candles as s final
    where
        s.chain = {chain:String}
        and s.interval = {source_interval:String}
        and s.token_address in {token_addresses:Array(String)}
        and s.timestamp >= toDateTime({start_s:UInt32}, 'UTC')
        and s.timestamp < toDateTime({end_s:UInt32}, 'UTC')
    group by token_address, bucket_s
),

stored as
(
    select
        t.token_address as token_address,
        toInt64(toUnixTimestamp(t.timestamp)) as bucket_s,
        t.open as open,
        t.high as high,
        t.low as low,
        t.close as close,
        t.volume as volume,
        t.flags as flags,
        1 as is_stored
    from ohlcv_candles as t final
    where
        t.chain = {chain:String}
        and t.interval = {target_interval:String}
        and t.token_address in {token_addresses:Array(String)}
        and t.timestamp >= toDateTime({start_s:UInt32}, 'UTC')
        and t.timestamp < toDateTime({end_s:UInt32}, 'UTC')
)

select
    {chain:String} as chain,
    buckets.token_address as token_address,
    {target_interval:String} as interval,
    toDateTime(buckets.bucket_s, 'UTC') as timestamp,
    buckets.open as open,
    buckets.high as high,
    buckets.low as low,
    buckets.close as close,
    buckets.volume as volume,
    now64(6, 'UTC') - toIntervalSecond(1577836800) as imported_at,
    buckets.flags as flags
from buckets
inner join series on series.token_address = buckets.token_address
left join stored on stored.token_address = buckets.token_address and stored.bucket_s = buckets.bucket_s
where
    ({include_open:UInt8} = 1 or buckets.bucket_s + {target_seconds:Int64} <= series.end_s)
    and
    (
        stored.is_stored = 0
        or
        (
            bitAnd(stored.flags, 4) != 0
            and (stored.open, stored.high, stored.low, stored.close, stored.volume, stored.flags)
            != (buckets.open, buckets.high, buckets.low, buckets.close, buckets.volume, buckets.flags)
        )
    )
settings do_not_merge_across_partitions_select_final = 1
