-- grain: one row: candles, those that can't be, the first of them
-- units: timestamps UTC seconds
with checked as
(
    select
        chain,
        token_address,
        interval,
        timestamp,
        multiIf(
            not (isFinite(open) and isFinite(high) and isFinite(low) and isFinite(close) and isFinite(volume)),
            'has a value that is not finite',
            low <= 0, 'has a price that is not above 0',
            low > least(open, close), 'has a low above its open or close',
            high < greatest(open, close), 'has a high below its open or close',
            volume < 0, 'has a volume below 0',
            flags > 7, 'has a flag that nobody knows',
            chain = '' or token_address = '', 'has no token',
            not has({intervals:Array(String)}, interval), 'has an interval that nobody knows',
            toUInt32(timestamp) = 0, 'opens at the epoch',
            toUInt32(timestamp) > {latest_s:UInt32}, 'opens in the future',
            ''
        ) as fault
    from ohlcv_candles final
)

select
    toInt64(count()) as looked_at,
    toInt64(countIf(fault != '')) as wrong,
    arraySort(groupArrayIf(5)(
        concat(chain, ' ', token_address, ' ', interval, ' ', toString(timestamp), ' ', fault), fault != ''
    )) as examples
from checked
settings do_not_merge_across_partitions_select_final = 1
