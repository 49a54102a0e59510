-- What candles cover, in cells of whole days.
-- grain: one row per cell and token that was asked for, and per cell of all other tokens together (empty address)
-- keys: token_address, chain, cell
-- units: cell counts from 0 at origin_s in steps of cell_seconds; covered_seconds in candles of each month's finest
--   interval, as in report/list_token_coverage
with days as
(
    select
        c.chain as chain,
        c.token_address as token_address,
        transform(c.interval, {interval_names:Array(String)}, {interval_lengths:Array(Int64)}, toInt64(0)) as step,
        toStartOfDay(c.timestamp) as day,
        toInt64(count()) as candle_count
    from ohlcv_candles as c final
    group by chain, token_address, step, day
),

chosen as
(
    select
        *,
        min(step) over (partition by chain, token_address, toStartOfMonth(day)) as finest_step,
        (chain, token_address) in arrayZip({chains:Array(String)}, {token_addresses:Array(String)}) as is_wanted
    from days
)

select
    if(is_wanted, toString(chain), '') as shown_chain,
    if(is_wanted, toString(token_address), '') as shown_address,
    intDiv(toInt64(toUnixTimestamp(day)) - {origin_s:Int64}, {cell_seconds:Int64}) as cell,
    sum(candle_count * step) as covered_seconds
from chosen
where step = finest_step
group by shown_chain, shown_address, cell
order by shown_chain, shown_address, cell
settings do_not_merge_across_partitions_select_final = 1
