/*
description: Which strategies earned, over all calls, after costs?
grain: one row per strategy version with a completed, current backtest that looked at a call
columns:
  strategy_rank:
    meaning: "Place by mean_pnl_lower, strategies with enough trades first: one lucky trade widens the error by more
      than it lifts the mean, so that it can't win the first place; 1 is best"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  run_count: {meaning: Runs behind the row, unit: runs}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  token_count: {meaning: Tokens with a trade, unit: tokens}
  caller_count: {meaning: Callers with a trade, unit: callers}
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
  first_trade_at: {meaning: First buy of the first trade, unit: UTC}
  last_trade_at: {meaning: Last sell of the last trade, unit: UTC}
  is_small_sample:
    meaning: "Fewer than 20 trades or fewer than 5 tokens: the row says little"
    unit: true or false
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
tests:
  - unique: [strategy_name, strategy_version]
  - unique: [strategy_rank]
  - expression: win_count <= trade_count
  - expression: win_rate_lower is null or win_rate_lower <= win_rate
notes: |
  Every trade weighs the same, whichever run it is from. The simulated calls overlap in time and capital is not limited:
  this compares rules, it is not the return of an account.
*/
with
totals as (
    select
        strategy_name,
        strategy_version,
        countIf(has_bought) as trade_count,
        countIf(has_bought and pnl > 0) as win_count,
        countIf(not has_bought) as skipped_count,
        countIf(has_bought and data_quality = 'good') as good_data_trade_count,
        uniqExact(simulation_run_id) as run_count,
        uniqExactIf((caller_source, caller_handle), has_bought) as caller_count,
        if(trade_count = 0, null, win_count / trade_count) as win_rate,
        if(trade_count = 0, null, sum(pnl) / trade_count) as mean_pnl,
        if(trade_count = 0, null, quantileExactInclusiveIf(0.5)(pnl, has_bought)) as median_pnl,
        sum(pnl) as total_pnl,
        minOrNullIf(entered_at, has_bought) as first_trade_at,
        maxOrNullIf(exited_at, has_bought) as last_trade_at
    from {{ ref('int_trades') }}
    group by
        strategy_name,
        strategy_version
),

per_token as (
    select
        strategy_name,
        strategy_version,
        chain,
        token_address,
        sum(trade_count) as token_trades,
        sum(total_pnl) as token_pnl
    from {{ ref('int_token_results') }}
    group by
        strategy_name,
        strategy_version,
        chain,
        token_address
    having token_trades > 0
),

spreads as (
    select
        per_token.strategy_name as strategy_name,
        per_token.strategy_version as strategy_version,
        count() as token_count,
        sum(pow(per_token.token_pnl - totals.mean_pnl * per_token.token_trades, 2)) as squared_residuals
    from per_token
    inner join totals
        on
            per_token.strategy_name = totals.strategy_name
            and per_token.strategy_version = totals.strategy_version
    group by
        strategy_name,
        strategy_version
),

results as (
    select
        totals.strategy_name as strategy_name,
        totals.strategy_version as strategy_version,
        totals.run_count as run_count,
        totals.trade_count as trade_count,
        totals.skipped_count as skipped_count,
        spreads.token_count as token_count,
        totals.caller_count as caller_count,
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
        totals.first_trade_at as first_trade_at,
        totals.last_trade_at as last_trade_at,
        totals.trade_count < 20 or spreads.token_count < 5 as is_small_sample,
        totals.good_data_trade_count as good_data_trade_count
    from totals
    left join spreads
        on
            totals.strategy_name = spreads.strategy_name
            and totals.strategy_version = spreads.strategy_version
)

select
    row_number() over (
        order by
            is_small_sample,
            mean_pnl_lower desc nulls last,
            trade_count desc,
            strategy_name,
            strategy_version
    ) as strategy_rank,
    strategy_name,
    strategy_version,
    run_count,
    trade_count,
    skipped_count,
    token_count,
    caller_count,
    win_count,
    win_rate,
    win_rate_lower,
    mean_pnl,
    mean_pnl_lower,
    median_pnl,
    total_pnl,
    first_trade_at,
    last_trade_at,
    is_small_sample,
    good_data_trade_count
from results
