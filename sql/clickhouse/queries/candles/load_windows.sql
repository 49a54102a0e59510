-- grain: one candle of one window
-- keys: position, timestamp
-- units: timestamp UTC seconds; prices in quote currency
-- `position` counts the windows, which come as parallel arrays, from 0; the bounds over all windows let the
-- server skip partitions.
with windows as
(
    select
        w.1 as position,
        w.2 as chain,
        w.3 as token_address,
        w.4 as interval,
        w.5 as start_s,
        w.6 as end_s
    from
    (
        select arrayJoin(arrayZip(
            {positions:Array(UInt32)},
            {chains:Array(String)},
            {token_addresses:Array(String)},
            {intervals:Array(String)},
            {starts_s:Array(UInt32)},
            {ends_s:Array(UInt32)}
        )) as w
    )
)

select
    windows.position as position,
    c.timestamp as timestamp,
    c.open as open,
    c.high as high,
    c.low as low,
    c.close as close,
    c.volume as volume,
    c.flags as flags
from ohlcv_candles as c final
inner join windows
    on c.chain = windows.chain and c.token_address = windows.token_address and c.interval = windows.interval
where
    (c.chain, c.token_address, c.interval) in (select chain, token_address, interval from windows)
    and c.timestamp >= toDateTime({first_s:UInt32}, 'UTC')
    and c.timestamp < toDateTime({last_s:UInt32}, 'UTC')
    and toUInt32(c.timestamp) >= windows.start_s
    and toUInt32(c.timestamp) < windows.end_s
order by windows.position, c.timestamp
settings do_not_merge_across_partitions_select_final = 1
