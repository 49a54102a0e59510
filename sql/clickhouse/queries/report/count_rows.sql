-- Counts and ends of what ClickHouse holds.
-- grain: one row
-- units: times in seconds since the epoch, UTC; 0 when there is nothing
select
    candles.candle_count as candles,
    candles.token_count as tokens_with_candles,
    candles.first_s as first_candle_s,
    candles.last_s as last_candle_s,
    candles.interval_names as intervals,
    trades.trade_count as trades,
    trades.skipped_count as skipped,
    runs.engine_versions as engine_versions
from
    (
        select
            count() as candle_count,
            uniqExact((chain, token_address)) as token_count,
            toInt64(toUnixTimestamp(min(timestamp))) as first_s,
            toInt64(toUnixTimestamp(max(timestamp))) as last_s,
            arrayStringConcat(arraySort(groupUniqArray(toString(interval))), ' ') as interval_names
        from ohlcv_candles final
    ) as candles
cross join
    (
        select
            countIf(has_bought) as trade_count,
            countIf(not has_bought) as skipped_count
        from int_trades
    ) as trades
cross join
    (
        select arrayStringConcat(arraySort(groupUniqArray(toString(engine_version))), ' ') as engine_versions
        from int_current_backtests
    ) as runs
