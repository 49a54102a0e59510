-- grain: one interval that a window has candles of
-- keys: position, interval
-- `position` counts the windows, which come as parallel arrays, from 0. No final: duplicates don't matter here.
with windows as
(
    select
        w.1 as position,
        w.2 as chain,
        w.3 as token_address,
        w.4 as start_s,
        w.5 as end_s
    from
    (
        select arrayJoin(arrayZip(
            {positions:Array(UInt32)},
            {chains:Array(String)},
            {token_addresses:Array(String)},
            {starts_s:Array(UInt32)},
            {ends_s:Array(UInt32)}
        )) as w
    )
)

select distinct
    windows.position as position,
    c.interval as interval
from ohlcv_candles as c
inner join windows on c.chain = windows.chain and c.token_address = windows.token_address
where
    (c.chain, c.token_address) in (select chain, token_address from windows)
    and c.timestamp >= toDateTime({first_s:UInt32}, 'UTC')
    and c.timestamp < toDateTime({last_s:UInt32}, 'UTC')
    and toUInt32(c.timestamp) >= windows.start_s
    and toUInt32(c.timestamp) < windows.end_s
