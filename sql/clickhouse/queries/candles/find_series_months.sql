-- grain: one month of one token that has candles of one interval
-- keys: chain, token_address, month
-- units: month YYYY-MM in UTC; first_s and last_s open times of the month's first and last candle, UTC seconds
-- No final: row_count is for sharing work out, rows that wait to be merged count twice.
select
    c.chain as chain,
    c.token_address as token_address,
    formatDateTime(toStartOfMonth(c.timestamp), '%Y-%m') as month,
    toInt64(count()) as row_count,
    toInt64(toUnixTimestamp(min(c.timestamp))) as first_s,
    toInt64(toUnixTimestamp(max(c.timestamp))) as last_s
from ohlcv_candles as c
where c.interval = {interval:String}
group by chain, token_address, month
order by chain, month, token_address
