/*
description: Whose calls earned, under each strategy, after costs?
grain: one row per strategy version and caller whose call a completed, current backtest looked at; also one who only lost, or whose calls were all skipped
columns:
  caller_rank:
    meaning: Place within the strategy version by mean_pnl_lower, callers with enough trades first; 1 is best
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  token_count: {meaning: Tokens with a trade, unit: tokens}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  win_rate_lower: {meaning: Lower end of the 95 % Wilson interval of win_rate, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade
    unit: fraction of the trade's capital
  mean_pnl_lower:
    meaning: mean_pnl less 1.96 standard errors, which come from the differences between tokens, as trades of one
      token are not independent; null with fewer than two tokens
    unit: fraction of the trade's capital
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  first_call_at: {meaning: Moment of the first call, unit: UTC}
  last_call_at: {meaning: Moment of the last call, unit: UTC}
  is_small_sample:
    meaning: "Fewer than 20 trades or fewer than 5 tokens: the row says little"
    unit: true or false
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
tests:
  - unique: [strategy_name, strategy_version, caller_source, caller_handle]
  - unique: [strategy_name, strategy_version, caller_rank]
  - expression: win_count <= trade_count
  - expression: win_rate_lower is null or win_rate_lower <= win_rate
notes: |
  The exact leaderboard: a trade knows its call and the call its caller. Postgres keeps no trades, see its view of the
  same name.
*/
with
totals as (
    select
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle,
        countIf(has_bought) as trade_count,
        countIf(has_bought and pnl > 0) as win_count,
        countIf(not has_bought) as skipped_count,
        countIf(has_bought and data_quality = 'good') as good_data_trade_count,
        if(trade_count = 0, null, win_count / trade_count) as win_rate,
        if(trade_count = 0, null, sum(pnl) / trade_count) as mean_pnl,
        if(trade_count = 0, null, quantileExactInclusiveIf(0.5)(pnl, has_bought)) as median_pnl,
        sum(pnl) as total_pnl,
        min(signal_timestamp) as first_call_at,
        max(signal_timestamp) as last_call_at
    from {{ ref('int_trades') }}
    group by
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle
),

spreads as (
    select
        tokens.strategy_name as strategy_name,
        tokens.strategy_version as strategy_version,
        tokens.caller_source as caller_source,
        tokens.caller_handle as caller_handle,
        count() as token_count,
        sum(pow(tokens.total_pnl - totals.mean_pnl * tokens.trade_count, 2)) as squared_residuals
    from {{ ref('int_token_results') }} as tokens
    inner join totals
        on
            tokens.strategy_name = totals.strategy_name
            and tokens.strategy_version = totals.strategy_version
            and tokens.caller_source = totals.caller_source
            and tokens.caller_handle = totals.caller_handle
    where tokens.trade_count > 0
    group by
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle
),

results as (
    select
        totals.strategy_name as strategy_name,
        totals.strategy_version as strategy_version,
        totals.caller_source as caller_source,
        totals.caller_handle as caller_handle,
        totals.trade_count as trade_count,
        totals.skipped_count as skipped_count,
        spreads.token_count as token_count,
        totals.win_count as win_count,
        totals.win_rate as win_rate,
        if(
            totals.trade_count = 0,
            null,
            -- Between 0 and the rate itself, where rounding would leave these bounds.
            least(
                totals.win_rate,
                greatest(
                    0,
                    (
                        totals.win_rate + 1.9208 / totals.trade_count
                        - 1.96 * sqrt(
                            totals.win_rate * (1 - totals.win_rate) / totals.trade_count
                            + 0.9604 / pow(totals.trade_count, 2)
                        )
                    ) / (1 + 3.8416 / totals.trade_count)
                )
            )
        ) as win_rate_lower,
        totals.mean_pnl as mean_pnl,
        if(
            spreads.token_count < 2,
            null,
            totals.mean_pnl - 1.96 * sqrt(
                spreads.token_count / (spreads.token_count - 1) * spreads.squared_residuals
            ) / totals.trade_count
        ) as mean_pnl_lower,
        totals.median_pnl as median_pnl,
        totals.total_pnl as total_pnl,
        totals.first_call_at as first_call_at,
        totals.last_call_at as last_call_at,
        totals.trade_count < 20 or spreads.token_count < 5 as is_small_sample,
        totals.good_data_trade_count as good_data_trade_count
    from totals
    left join spreads
        on
            totals.strategy_name = spreads.strategy_name
            and totals.strategy_version = spreads.strategy_version
            and totals.caller_source = spreads.caller_source
            and totals.caller_handle = spreads.caller_handle
)

select
    row_number() over (
        partition by
            strategy_name,
            strategy_version
        order by
            is_small_sample,
            mean_pnl_lower desc nulls last,
            trade_count desc,
            caller_source,
            caller_handle
    ) as caller_rank,
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    trade_count,
    skipped_count,
    token_count,
    win_count,
    win_rate,
    win_rate_lower,
    mean_pnl,
    mean_pnl_lower,
    median_pnl,
    total_pnl,
    first_call_at,
    last_call_at,
    is_small_sample,
    good_data_trade_count
from results
