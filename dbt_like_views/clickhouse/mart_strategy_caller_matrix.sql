/*
description: Which strategy suits which caller?
grain: "one row per strategy version with a completed, current backtest and caller with a call, also where the two
  never met"
materialized: table
order_by: [strategy_name, strategy_version, caller_source, caller_handle]
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  call_count: {meaning: "Calls that were simulated: trade_count + skipped_count", unit: calls}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade; 0.25 is 25 %
    unit: fraction of the trade's capital
  mean_pnl_lower:
    meaning: "mean_pnl less 1.96 standard errors, which come from the differences between tokens, as trades of one token are
      not independent; null with fewer than two tokens"
    unit: fraction of the trade's capital
  mean_pnl_upper:
    meaning: "mean_pnl and 1.96 standard errors, see mean_pnl_lower; null with fewer than two tokens"
    unit: fraction of the trade's capital
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  strategy_mean_pnl:
    meaning: mean_pnl of the strategy over the calls of all callers; null without a trade
    unit: fraction of the trade's capital
  mean_pnl_beyond_strategy:
    meaning: "mean_pnl less strategy_mean_pnl: what this caller's trades brought more than the strategy's mean; null without
      a trade"
    unit: fraction of the trade's capital
  is_small_sample: {meaning: "Fewer than 20 trades or fewer than 5 tokens: the row says little", unit: true or false}
tests:
  - unique: [strategy_name, strategy_version, caller_source, caller_handle]
  - expression: call_count = trade_count + skipped_count
  - expression: (trade_count = 0) = (mean_pnl is null)
notes: |
  Counts are 0 and means null where a strategy met no call of a caller, so that a heat map has no holes. A pair that
  was tried among hundreds is the best of many: trust it only with its interval.
*/
with
callers as (
    select distinct
        calls.caller_source as caller_source,
        calls.caller_handle as caller_handle
    from {{ ref('stg_calls') }} as calls
),

-- Trades whose call was not published yet have a caller without a name.
named as (
    select
        callers.caller_source as caller_source,
        callers.caller_handle as caller_handle
    from callers
    union distinct
    select
        leaders.caller_source as caller_source,
        leaders.caller_handle as caller_handle
    from {{ ref('mart_caller_leaderboard') }} as leaders
),

pairs as (
    select
        strategies.strategy_name as strategy_name,
        strategies.strategy_version as strategy_version,
        strategies.mean_pnl as strategy_mean_pnl,
        named.caller_source as caller_source,
        named.caller_handle as caller_handle
    from {{ ref('mart_strategy_leaderboard') }} as strategies
    cross join named
)

select
    pairs.strategy_name as strategy_name,
    pairs.strategy_version as strategy_version,
    pairs.caller_source as caller_source,
    pairs.caller_handle as caller_handle,
    leaders.call_count as call_count,
    leaders.trade_count as trade_count,
    leaders.skipped_count as skipped_count,
    leaders.win_rate as win_rate,
    leaders.mean_pnl as mean_pnl,
    leaders.mean_pnl_lower as mean_pnl_lower,
    leaders.mean_pnl_upper as mean_pnl_upper,
    leaders.median_pnl as median_pnl,
    leaders.total_pnl as total_pnl,
    pairs.strategy_mean_pnl as strategy_mean_pnl,
    leaders.mean_pnl - pairs.strategy_mean_pnl as mean_pnl_beyond_strategy,
    -- Where the two never met, there is no row and no flag.
    toBool(leaders.call_count = 0 or leaders.is_small_sample) as is_small_sample
from pairs
left join {{ ref('mart_caller_leaderboard') }} as leaders
    on
        pairs.strategy_name = leaders.strategy_name
        and pairs.strategy_version = leaders.strategy_version
        and pairs.caller_source = leaders.caller_source
        and pairs.caller_handle = leaders.caller_handle
