-- grain: one month of one interval of one token, from the series' first candle to its last; months without a candle
--   between them are rows with candle_count 0
-- keys: chain, token_address, interval, month
-- units: month YYYY-MM in UTC; *_s seconds since the epoch; *_seconds lengths; *_count and *_candles candles
-- upstream: ohlcv_candles
-- What is expected of a month is what lies between the series' ends: a token that appears on the 20th lacks
-- nothing before. Gaps are cut at the month's ends. silent_seconds is the time from the month's last candle to
-- the month's end or as_of_s, whichever is earlier; as_of_s 0 means the end of the chain's newest candle.
-- A flat run is of candles that follow each other with equal closes, over gaps too. Wicks are counted when
-- wick_limit is above 0: those longer than wick_limit × the month's median range, both as a fraction of the close.
with series as
(
    select
        b.chain as chain,
        b.token_address as token_address,
        b.interval as interval,
        transform(b.interval, {interval_names:Array(String)}, {interval_lengths:Array(Int64)}, toInt64(0)) as step,
        toInt64(toUnixTimestamp(min(b.timestamp))) as first_s,
        toInt64(toUnixTimestamp(max(b.timestamp))) as last_s
    from ohlcv_candles as b
    where
        (length({chains:Array(String)}) = 0 or (b.chain, b.token_address)
        in arrayZip({chains:Array(String)}, {token_addresses:Array(String)}))
        and ({interval:String} = '' or b.interval = {interval:String})
    group by chain, token_address, interval
),

-- The newest candle of a chain is found over all its tokens, whichever were asked for.
chain_ends as
(
    select
        e.chain as chain,
        max(e.end_s) as end_s
    from
    (
        select
            n.chain as chain,
            toInt64(toUnixTimestamp(max(n.timestamp)))
            + transform(n.interval, {interval_names:Array(String)}, {interval_lengths:Array(Int64)}, toInt64(0)) as end_s
        from ohlcv_candles as n
        group by n.chain, n.interval
    ) as e
    group by chain
),

months as
(
    select
        series.*,
        chain_ends.end_s as chain_end_s,
        arrayJoin(arrayMap(
            n -> toStartOfMonth(toDateTime(first_s, 'UTC')) + toIntervalMonth(n),
            range(toUInt64(dateDiff('month', toDateTime(first_s, 'UTC'), toDateTime(last_s, 'UTC'), 'UTC')) + 1)
        )) as month_date
    from series
    inner join chain_ends on chain_ends.chain = series.chain
),

bounded as
(
    select
        chain,
        token_address,
        interval,
        step,
        month_date,
        greatest(toInt64(toUnixTimestamp(toDateTime(month_date, 'UTC'))), first_s) as from_s,
        toInt64(toUnixTimestamp(toDateTime(month_date + toIntervalMonth(1), 'UTC'))) as month_end_s,
        least(month_end_s, last_s + step) as to_s,
        if({as_of_s:Int64} = 0, chain_end_s, {as_of_s:Int64}) as as_of_s
    from months
    where length({months:Array(String)}) = 0 or formatDateTime(month_date, '%Y-%m') in {months:Array(String)}
),

numbered as
(
    select
        c.chain as chain,
        c.token_address as token_address,
        c.interval as interval,
        toStartOfMonth(c.timestamp) as month_date,
        transform(c.interval, {interval_names:Array(String)}, {interval_lengths:Array(Int64)}, toInt64(0)) as step,
        toInt64(toUnixTimestamp(c.timestamp)) as opened_s,
        c.close as close,
        c.volume as volume,
        c.flags as flags,
        (c.high - c.low) / c.close as range_fraction,
        greatest(c.high - greatest(c.open, c.close), least(c.open, c.close) - c.low) / c.close as wick_fraction,
        row_number() over months_candles as position,
        lagInFrame(opened_s) over months_candles as previous_s,
        lagInFrame(c.close) over months_candles as previous_close
    from ohlcv_candles as c final
    where
        (length({chains:Array(String)}) = 0 or (c.chain, c.token_address)
        in arrayZip({chains:Array(String)}, {token_addresses:Array(String)}))
        and ({interval:String} = '' or c.interval = {interval:String})
        and (
            length({months:Array(String)}) = 0
            or toYYYYMM(c.timestamp) in arrayMap(m -> toUInt32(replaceAll(m, '-', '')), {months:Array(String)})
        )
    window months_candles as
    (
        partition by c.chain, c.token_address, c.interval, toStartOfMonth(c.timestamp)
        order by c.timestamp
        rows between unbounded preceding and current row
    )
),

runs as
(
    select
        *,
        if(position = 1, 0, greatest(intDiv(opened_s - previous_s, step) - 1, 0)) as gap_candles,
        max(if(position = 1 or close != previous_close, position, 0)) over months_runs as run_position,
        max(if(position = 1 or close != previous_close, opened_s, 0)) over months_runs as run_s
    from numbered
    window months_runs as
    (
        partition by chain, token_address, interval, month_date
        order by opened_s
        rows between unbounded preceding and current row
    )
),

measured as
(
    select
        chain,
        token_address,
        interval,
        month_date,
        toInt64(count()) as candle_count,
        min(opened_s) as first_s,
        max(opened_s) as last_s,
        toInt64(countIf(gap_candles > 0)) as inner_gap_count,
        toInt64(max(gap_candles)) as inner_gap_candles,
        toInt64(countIf(volume = 0)) as zero_volume_count,
        toInt64(countIf(bitAnd(flags, 1) != 0)) as volume_missing_count,
        toInt64(countIf(bitAnd(flags, 2) != 0)) as distorted_count,
        toInt64(countIf(bitAnd(flags, 4) != 0)) as resampled_count,
        toInt64(countIf(opened_s % step != 0)) as off_grid_count,
        toInt64(max(position - run_position + 1)) as flat_run_candles,
        toInt64(max(opened_s - run_s + step)) as flat_run_seconds,
        quantileExactIf(0.5)(range_fraction, range_fraction > 0) as median_range,
        toInt64(arrayCount(
            wick -> wick > {wick_limit:Float64} * median_range,
            groupArrayIf(wick_fraction, {wick_limit:Float64} > 0)
        )) as long_wick_count
    from runs
    group by chain, token_address, interval, month_date
)

select
    bounded.chain as chain,
    bounded.token_address as token_address,
    bounded.interval as interval,
    formatDateTime(bounded.month_date, '%Y-%m') as month,
    bounded.step as interval_seconds,
    intDiv(bounded.to_s - bounded.from_s + bounded.step - 1, bounded.step) as expected_count,
    measured.candle_count as candle_count,
    if(candle_count = 0, 0, measured.first_s) as first_candle_s,
    if(candle_count = 0, 0, measured.last_s) as last_candle_s,
    if(candle_count = 0, 0, intDiv(measured.first_s - bounded.from_s, bounded.step)) as leading_gap_candles,
    if(candle_count = 0, 0, intDiv(bounded.to_s - measured.last_s, bounded.step) - 1) as trailing_gap_candles,
    toInt64(if(
        candle_count = 0,
        1,
        measured.inner_gap_count + (leading_gap_candles > 0) + (trailing_gap_candles > 0)
    )) as gap_count,
    toInt64(if(
        candle_count = 0,
        expected_count,
        greatest(measured.inner_gap_candles, leading_gap_candles, trailing_gap_candles)
    )) as longest_gap_candles,
    measured.zero_volume_count as zero_volume_count,
    measured.volume_missing_count as volume_missing_count,
    measured.distorted_count as distorted_count,
    measured.long_wick_count as long_wick_count,
    measured.resampled_count as resampled_count,
    measured.off_grid_count as off_grid_count,
    measured.flat_run_candles as flat_run_candles,
    measured.flat_run_seconds as flat_run_seconds,
    greatest(
        least(bounded.month_end_s, bounded.as_of_s)
        - if(candle_count = 0, bounded.from_s, measured.last_s + bounded.step),
        0
    ) as silent_seconds
from bounded
left join measured
    on
        bounded.chain = measured.chain
        and bounded.token_address = measured.token_address
        and bounded.interval = measured.interval
        and bounded.month_date = measured.month_date
order by chain, token_address, interval, month
settings do_not_merge_across_partitions_select_final = 1
