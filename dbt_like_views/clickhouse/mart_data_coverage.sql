/*
description: "Which candles are there, what is missing or doubtful, and how fresh are they?"
grain: "one row per token, interval and month, from the series' first candle to its last; months without a candle
  between them included"
materialized: table
order_by: [chain, token_address, interval_name, month]
columns:
  chain: {meaning: Chain (or exchange) of the token}
  token_address: {meaning: Address of the token on its chain}
  interval_name: {meaning: "Length of a candle by name, such as 5m"}
  month: {meaning: First day of the month, unit: UTC}
  is_finest_interval:
    meaning: "Whether it is the finest interval of the token in this month, which is the one that simulations read"
    unit: true or false
  interval_seconds: {meaning: Length of a candle, unit: seconds}
  candle_count: {meaning: Candles that are there, unit: candles}
  expected_count: {meaning: Candles that fit in between the series' ends, unit: candles}
  missing_count: {meaning: expected_count less candle_count, unit: candles}
  coverage: {meaning: candle_count over expected_count, unit: fraction of candles}
  gap_count: {meaning: Places where candles are missing, unit: gaps}
  longest_gap_candles: {meaning: Longest gap, unit: candles}
  first_candle_at: {meaning: Open time of the month's first candle; null without one, unit: UTC}
  last_candle_at: {meaning: Open time of the month's last candle; null without one, unit: UTC}
  silent_hours:
    meaning: "From the end of the month's last candle to the end of the month, or of the chain's newest candle if that is
      earlier: how stale the series is"
    unit: hours
  zero_volume_count: {meaning: Candles without a trade, unit: candles}
  volume_missing_count: {meaning: Candles whose volume the import did not have, unit: candles}
  distorted_count: {meaning: Candles whose wick the import judged distorted, unit: candles}
  resampled_count: {meaning: Candles made from finer ones, unit: candles}
  imported_at: {meaning: When the newest of the candles was imported or made; null without one, unit: UTC}
tests:
  - unique: [chain, token_address, interval_name, month]
  - expression: expected_count > 0
  - expression: candle_count + missing_count = expected_count
  - expression: coverage between 0 and 1
  - expression: silent_hours >= 0
notes: |
  Coverage counts what lies between the series' first and last candle: a token is not blamed for its birth. Gaps are
  cut at the month's ends. docs/candle-quality.md says what the numbers mean; the command 'quantbot candles quality'
  judges them.
*/
with
series as (
    select
        candles.chain as chain,
        candles.token_address as token_address,
        candles.`interval` as interval_name,
        toInt64(transform(
            cast(candles.`interval` as String),
            ['1s', '15s', '30s', '1m', '3m', '5m', '15m', '30m', '1h', '2h', '4h', '6h', '8h', '12h', '1d'],
            [1, 15, 30, 60, 180, 300, 900, 1800, 3600, 7200, 14400, 21600, 28800, 43200, 86400],
            0
        )) as step,
        toInt64(toUnixTimestamp(min(candles.timestamp))) as first_s,
        toInt64(toUnixTimestamp(max(candles.timestamp))) as last_s
    from {{ source('ohlcv_candles') }} as candles
    group by
        chain,
        token_address,
        interval_name
),

chain_ends as (
    select
        series.chain as chain,
        max(series.last_s + series.step) as end_s
    from series
    group by chain
),

-- From the month of a series' first candle to that of its last; what is expected of a month lies between these ends.
months as (
    select
        series.chain as chain,
        series.token_address as token_address,
        series.interval_name as interval_name,
        series.step as step,
        chain_ends.end_s as chain_end_s,
        arrayJoin(
            arrayMap(
                -- The linter takes the lambda's argument for a column.
                passed -> toStartOfMonth(toDateTime(series.first_s, 'UTC')) + toIntervalMonth(passed), -- noqa: RF02
                range(
                    toUInt64(
                        dateDiff('month', toDateTime(series.first_s, 'UTC'), toDateTime(series.last_s, 'UTC'), 'UTC')
                    ) + 1
                )
            )
        ) as month,
        greatest(toInt64(toUnixTimestamp(toDateTime(month, 'UTC'))), series.first_s) as from_s,
        toInt64(toUnixTimestamp(toDateTime(month + toIntervalMonth(1), 'UTC'))) as month_end_s,
        least(month_end_s, series.last_s + series.step) as to_s
    from series
    inner join chain_ends on series.chain = chain_ends.chain
),

opened as (
    select
        candles.chain as chain,
        candles.token_address as token_address,
        candles.`interval` as interval_name,
        toStartOfMonth(candles.timestamp) as month,
        toInt64(toUnixTimestamp(candles.timestamp)) as opened_s,
        candles.volume as volume,
        candles.flags as flags,
        candles.imported_at as imported_at,
        lagInFrame(toNullable(opened_s)) over (
            partition by
                candles.chain,
                candles.token_address,
                candles.`interval`,
                toStartOfMonth(candles.timestamp)
            order by candles.timestamp
            rows between unbounded preceding and current row
        ) as previous_s
    from {{ source('ohlcv_candles') }} as candles final
),

measured as (
    select
        opened.chain as chain,
        opened.token_address as token_address,
        opened.interval_name as interval_name,
        opened.month as month,
        toInt64(count()) as candle_count,
        min(opened.opened_s) as first_s,
        max(opened.opened_s) as last_s,
        -- Distances to the candle before, in seconds: a gap is where they are more than a candle's length.
        groupArray(toInt64(opened.opened_s - coalesce(opened.previous_s, opened.opened_s))) as distances,
        toInt64(countIf(opened.volume = 0)) as zero_volume_count,
        toInt64(countIf(bitAnd(opened.flags, 1) != 0)) as volume_missing_count,
        toInt64(countIf(bitAnd(opened.flags, 2) != 0)) as distorted_count,
        toInt64(countIf(bitAnd(opened.flags, 4) != 0)) as resampled_count,
        -- A resampled candle carries the time of its making less 50 years.
        maxOrNull(if(bitAnd(opened.flags, 4) != 0, addYears(opened.imported_at, 50), opened.imported_at)) as imported_at
    from opened
    group by
        chain,
        token_address,
        interval_name,
        month
),

judged as (
    select
        months.chain as chain,
        months.token_address as token_address,
        months.interval_name as interval_name,
        months.month as month,
        months.step as interval_seconds,
        measured.candle_count as found_count,
        -- At least what was found: candles beside the interval's grid may be more than fit in.
        greatest(intDiv(months.to_s - months.from_s + months.step - 1, months.step), found_count) as expected_count,
        if(found_count = 0, 0, intDiv(measured.first_s - months.from_s, months.step)) as leading_gap,
        if(found_count = 0, 0, intDiv(months.to_s - measured.last_s, months.step) - 1) as trailing_gap,
        arrayMap(
            -- The linter takes the lambda's argument for a column.
            distance -> greatest(intDiv(distance, months.step) - 1, 0), -- noqa: RF02
            measured.distances
        ) as inner_gaps,
        measured.first_s as first_s,
        measured.last_s as last_s,
        greatest(
            least(months.month_end_s, months.chain_end_s)
            - if(found_count = 0, months.from_s, measured.last_s + months.step),
            0
        ) as silent_seconds,
        measured.zero_volume_count as zero_volume_count,
        measured.volume_missing_count as volume_missing_count,
        measured.distorted_count as distorted_count,
        measured.resampled_count as resampled_count,
        measured.imported_at as imported_at
    from months
    left join measured
        on
            months.chain = measured.chain
            and months.token_address = measured.token_address
            and months.interval_name = measured.interval_name
            and months.month = measured.month
)

select
    judged.chain as chain,
    judged.token_address as token_address,
    judged.interval_name as interval_name,
    judged.month as month,
    toBool(
        judged.interval_seconds = min(judged.interval_seconds) over (
            partition by
                judged.chain,
                judged.token_address,
                judged.month
        )
    ) as is_finest_interval,
    judged.interval_seconds as interval_seconds,
    judged.found_count as candle_count,
    judged.expected_count as expected_count,
    judged.expected_count - judged.found_count as missing_count,
    judged.found_count / judged.expected_count as coverage,
    if(
        judged.found_count = 0,
        1,
        -- The linter takes the lambda's argument for a column.
        arrayCount(gap -> gap > 0, judged.inner_gaps) -- noqa: RF03
        + (judged.leading_gap > 0) + (judged.trailing_gap > 0)
    ) as gap_count,
    if(
        judged.found_count = 0,
        judged.expected_count,
        greatest(arrayMax(judged.inner_gaps), judged.leading_gap, judged.trailing_gap)
    ) as longest_gap_candles,
    if(judged.found_count = 0, null, toDateTime(judged.first_s, 'UTC')) as first_candle_at,
    if(judged.found_count = 0, null, toDateTime(judged.last_s, 'UTC')) as last_candle_at,
    judged.silent_seconds / 3600 as silent_hours,
    judged.zero_volume_count as zero_volume_count,
    judged.volume_missing_count as volume_missing_count,
    judged.distorted_count as distorted_count,
    judged.resampled_count as resampled_count,
    if(judged.found_count = 0, null, judged.imported_at) as imported_at
from judged
