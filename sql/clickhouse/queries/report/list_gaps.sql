-- Months of tokens in which candles are missing that simulations would have read; the most missing first.
-- grain: one row per token and month, of the month's finest interval; row_count is the number of all
-- parameters: row_limit
-- units: as in mart_data_coverage; month as YYYY-MM
select
    chain,
    token_address,
    formatDateTime(month, '%Y-%m') as month_name,
    toString(interval_name) as interval_name,
    candle_count,
    missing_count,
    coverage,
    gap_count,
    longest_gap_candles,
    interval_seconds,
    silent_hours,
    distorted_count,
    count() over () as row_count
from mart_data_coverage
where is_finest_interval and missing_count > 0
order by missing_count desc, chain, token_address, month
limit {row_limit:UInt32}
