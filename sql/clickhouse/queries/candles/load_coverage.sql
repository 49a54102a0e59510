-- grain: one month of one interval of one token
-- keys: chain, token_address, interval, month
-- units: month YYYY-MM in UTC; first_s and last_s open times of the first and last candle, UTC seconds
select
    c.chain as chain,
    c.token_address as token_address,
    c.interval as interval,
    formatDateTime(toStartOfMonth(c.timestamp), '%Y-%m') as month,
    toInt64(count()) as candle_count,
    toInt64(toUnixTimestamp(min(c.timestamp))) as first_s,
    toInt64(toUnixTimestamp(max(c.timestamp))) as last_s
from ohlcv_candles as c final
group by chain, token_address, interval, month
order by chain, token_address, interval, month
settings do_not_merge_across_partitions_select_final = 1
