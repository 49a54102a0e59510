-- How much of a token's life its candles cover.
-- grain: one row per token that has candles
-- keys: chain, token_address
-- units: first_s and end_s seconds since the epoch, from the first candle's open to the last one's end; covered_seconds
--   in candles of each month's finest interval, which is the one that simulations read
with days as
(
    select
        c.chain as chain,
        c.token_address as token_address,
        transform(c.interval, {interval_names:Array(String)}, {interval_lengths:Array(Int64)}, toInt64(0)) as step,
        toStartOfDay(c.timestamp) as day,
        toInt64(count()) as candle_count,
        toInt64(toUnixTimestamp(min(c.timestamp))) as day_first_s,
        toInt64(toUnixTimestamp(max(c.timestamp))) + any(step) as day_end_s
    from ohlcv_candles as c final
    group by chain, token_address, step, day
),

chosen as
(
    select
        *,
        min(step) over (partition by chain, token_address, toStartOfMonth(day)) as finest_step
    from days
)

select
    chain,
    token_address,
    min(day_first_s) as first_s,
    max(day_end_s) as end_s,
    sumIf(candle_count * step, step = finest_step) as covered_seconds
from chosen
group by chain, token_address
order by chain, token_address
settings do_not_merge_across_partitions_select_final = 1
