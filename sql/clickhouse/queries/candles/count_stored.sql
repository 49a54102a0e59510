-- grain: one window that has imported candles
-- keys: position
-- `position` counts the windows, which come as parallel arrays, from 0. No final: a candle that is not merged yet counts
-- twice, so this is an upper bound, 0 only where nothing is stored.
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
    toInt64(count()) as candle_count
from ohlcv_candles as c
inner join windows
    on c.chain = windows.chain and c.token_address = windows.token_address and c.interval = windows.interval
where
    (c.chain, c.token_address, c.interval) in (select chain, token_address, interval from windows)
    and c.timestamp >= toDateTime({first_s:UInt32}, 'UTC')
    and c.timestamp < toDateTime({last_s:UInt32}, 'UTC')
    and toUInt32(c.timestamp) >= windows.start_s
    and toUInt32(c.timestamp) < windows.end_s
    and bitAnd(c.flags, 4) = 0
group by windows.position
