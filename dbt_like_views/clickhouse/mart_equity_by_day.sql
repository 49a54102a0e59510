/*
description: How did a strategy's results add up over the days?
grain: "one row per strategy version and day, from the day on which its first trade closed to that of its last, days
  without a close included"
materialized: table
order_by: [strategy_name, strategy_version, day]
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  day: {meaning: Day on which the trades made their last sell, unit: UTC}
  trade_count: {meaning: Trades that closed on this day, unit: trades}
  win_count: {meaning: Trades that closed on this day with a profit, unit: trades}
  pnl: {meaning: Sum of the results of the trades that closed on this day, unit: capitals of a trade}
  cumulative_trade_count: {meaning: Trades closed up to and with this day, unit: trades}
  cumulative_pnl: {meaning: Sum of the results up to and with this day, unit: capitals of a trade}
  peak_pnl: {meaning: "Highest cumulative_pnl so far, at least 0", unit: capitals of a trade}
  drawdown: {meaning: "peak_pnl less cumulative_pnl, at least 0", unit: capitals of a trade}
tests:
  - unique: [strategy_name, strategy_version, day]
  - expression: trade_count > 0 or pnl = 0
  - expression: drawdown >= 0
  - expression: cumulative_pnl <= peak_pnl
notes: |
  Realised results, each on capital 1, on the day of the trade's last sell. Trades overlap in time and capital is not
  limited: this is a sum of results, not the equity of an account. Divide by cumulative_trade_count for the mean.
*/
with
closed as (
    select
        trades.strategy_name as strategy_name,
        trades.strategy_version as strategy_version,
        toDate(assumeNotNull(trades.exited_at)) as closed_on,
        count() as trade_count,
        countIf(trades.pnl > 0) as win_count,
        sum(trades.pnl) as pnl
    from {{ ref('int_trades') }} as trades
    where trades.has_bought
    group by
        strategy_name,
        strategy_version,
        closed_on
),

days as (
    select
        closed.strategy_name as strategy_name,
        closed.strategy_version as strategy_version,
        arrayJoin(
            arrayMap(
                -- The linter takes the lambda's argument for a column.
                passed -> min(closed.closed_on) + passed, -- noqa: RF03
                range(toUInt64(dateDiff('day', min(closed.closed_on), max(closed.closed_on)) + 1))
            )
        ) as day
    from closed
    group by
        strategy_name,
        strategy_version
),

added_up as (
    select
        days.strategy_name as strategy_name,
        days.strategy_version as strategy_version,
        days.day as day,
        closed.trade_count as trade_count,
        closed.win_count as win_count,
        closed.pnl as pnl,
        sum(closed.trade_count) over running as cumulative_trade_count,
        sum(closed.pnl) over running as cumulative_pnl
    from days
    left join closed
        on
            days.strategy_name = closed.strategy_name
            and days.strategy_version = closed.strategy_version
            and days.day = closed.closed_on
    window running as (
        partition by
            days.strategy_name,
            days.strategy_version
        order by days.day
        rows between unbounded preceding and current row
    )
)

select
    added_up.strategy_name as strategy_name,
    added_up.strategy_version as strategy_version,
    added_up.day as day,
    added_up.trade_count as trade_count,
    added_up.win_count as win_count,
    added_up.pnl as pnl,
    added_up.cumulative_trade_count as cumulative_trade_count,
    added_up.cumulative_pnl as cumulative_pnl,
    greatest(0, max(added_up.cumulative_pnl) over so_far) as peak_pnl,
    peak_pnl - added_up.cumulative_pnl as drawdown
from added_up
window so_far as (
    partition by
        added_up.strategy_name,
        added_up.strategy_version
    order by added_up.day
    rows between unbounded preceding and current row
)
