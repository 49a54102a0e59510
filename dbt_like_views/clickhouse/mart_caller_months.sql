/*
description: "How did each caller's calls do over time, month by month?"
grain: "one row per strategy version, month and caller with a simulated call in that month"
materialized: table
order_by: [caller_source, caller_handle, strategy_name, strategy_version, month]
columns:
  month_rank:
    meaning: "Place within strategy version and month by mean_pnl_lower, callers with enough trades (is_small_sample) first;
      1 is best"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  month: {meaning: First day of the month in which the calls were made, unit: UTC}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  call_count: {meaning: "Calls that were simulated: trade_count + skipped_count", unit: calls}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  token_count: {meaning: Tokens with a trade, unit: tokens}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  win_rate_lower:
    meaning: Lower end of the 95 % Wilson interval of win_rate; null without a trade
    unit: fraction of trades
  win_rate_upper:
    meaning: Upper end of the 95 % Wilson interval of win_rate; null without a trade
    unit: fraction of trades
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
  expectancy:
    meaning: "What a further trade may be expected to bring: win_rate * average_win + (1 - win_rate) * average_loss, which is
      mean_pnl under the name that traders look for"
    unit: fraction of the trade's capital
  average_win:
    meaning: Mean profit of the trades with a profit; null without one
    unit: fraction of the trade's capital
  average_loss:
    meaning: "Mean result of the other trades, at most 0; null without one"
    unit: fraction of the trade's capital
  profit_factor: {meaning: Sum of the gains over the sum of the losses; null without a loss, unit: ratio}
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  best_pnl: {meaning: Profit of the best trade; null without a trade, unit: fraction of the trade's capital}
  worst_pnl: {meaning: Profit of the worst trade; null without a trade, unit: fraction of the trade's capital}
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  first_call_at: {meaning: Moment of the first call, unit: UTC}
  last_call_at: {meaning: Moment of the last call, unit: UTC}
  is_small_sample: {meaning: "Fewer than 20 trades or fewer than 5 tokens: the row says little", unit: true or false}
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
tests:
  - unique: [strategy_name, strategy_version, month, caller_source, caller_handle]
  - unique: [strategy_name, strategy_version, month, month_rank]
  - expression: win_count <= trade_count
  - expression: call_count = trade_count + skipped_count
  - expression: win_rate_lower <= win_rate and win_rate <= win_rate_upper
  - expression: mean_pnl_lower <= mean_pnl and mean_pnl <= mean_pnl_upper
  - expression: worst_pnl <= median_pnl and median_pnl <= best_pnl
notes: |
  A trade belongs to the month of its call, also where it ended later. Months without a simulated call have no row.
*/
with
totals as (
    select
        trades.strategy_name as strategy_name,
        trades.strategy_version as strategy_version,
        toStartOfMonth(trades.signal_timestamp) as month,
        trades.caller_source as caller_source,
        trades.caller_handle as caller_handle,
        countIf(trades.has_bought) as trade_count,
        countIf(trades.has_bought and trades.pnl > 0) as win_count,
        countIf(not trades.has_bought) as skipped_count,
        countIf(trades.has_bought and trades.data_quality = 'good') as good_data_trade_count,
        if(trade_count = 0, null, win_count / trade_count) as win_rate,
        if(trade_count = 0, null, sum(trades.pnl) / trade_count) as mean_pnl,
        avgOrNullIf(trades.pnl, trades.has_bought and trades.pnl > 0) as average_win,
        avgOrNullIf(trades.pnl, trades.has_bought and trades.pnl <= 0) as average_loss,
        sumIf(trades.pnl, trades.pnl > 0) / nullIf(-sumIf(trades.pnl, trades.pnl < 0), 0) as profit_factor,
        if(trade_count = 0, null, quantileExactInclusiveIf(0.5)(trades.pnl, trades.has_bought)) as median_pnl,
        maxOrNullIf(trades.pnl, trades.has_bought) as best_pnl,
        minOrNullIf(trades.pnl, trades.has_bought) as worst_pnl,
        sum(trades.pnl) as total_pnl,
        min(trades.signal_timestamp) as first_call_at,
        max(trades.signal_timestamp) as last_call_at
    from {{ ref('int_trades') }} as trades
    group by
        trades.strategy_name,
        trades.strategy_version,
        month,
        trades.caller_source,
        trades.caller_handle
),

per_token as (
    select
        trades.strategy_name as strategy_name,
        trades.strategy_version as strategy_version,
        toStartOfMonth(trades.signal_timestamp) as month,
        trades.caller_source as caller_source,
        trades.caller_handle as caller_handle,
        countIf(trades.has_bought) as trade_count,
        sum(trades.pnl) as total_pnl
    from {{ ref('int_trades') }} as trades
    group by
        trades.strategy_name,
        trades.strategy_version,
        month,
        trades.caller_source,
        trades.caller_handle,
        trades.chain,
        trades.token_address
),

tokens as (
    select
        per_token.strategy_name as strategy_name,
        per_token.strategy_version as strategy_version,
        per_token.month as month,
        per_token.caller_source as caller_source,
        per_token.caller_handle as caller_handle,
        count() as token_count,
        groupArray((per_token.total_pnl, per_token.trade_count)) as token_results
    from per_token
    where per_token.trade_count > 0
    group by
        per_token.strategy_name,
        per_token.strategy_version,
        per_token.month,
        per_token.caller_source,
        per_token.caller_handle
),

results as (
    select
        totals.strategy_name as strategy_name,
        totals.strategy_version as strategy_version,
        totals.month as month,
        totals.caller_source as caller_source,
        totals.caller_handle as caller_handle,
        totals.trade_count + totals.skipped_count as call_count,
        totals.trade_count as trade_count,
        totals.skipped_count as skipped_count,
        tokens.token_count as token_count,
        totals.win_count as win_count,
        totals.win_rate as win_rate,
        -- Between 0, the rate itself and 1, where rounding would leave these bounds.
        if(
            totals.trade_count = 0,
            null,
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
        if(
            totals.trade_count = 0,
            null,
            greatest(
                totals.win_rate,
                least(
                    1,
                    (
                        totals.win_rate + 1.9208 / totals.trade_count
                        + 1.96 * sqrt(
                            totals.win_rate * (1 - totals.win_rate) / totals.trade_count
                            + 0.9604 / pow(totals.trade_count, 2)
                        )
                    ) / (1 + 3.8416 / totals.trade_count)
                )
            )
        ) as win_rate_upper,
        totals.mean_pnl as mean_pnl,
        if(
            tokens.token_count < 2,
            null,
            1.96 * sqrt(
                tokens.token_count / (tokens.token_count - 1)
                * arraySum(
                    -- The linter takes the lambda's argument for a column.
                    token -> pow(token.1 - assumeNotNull(totals.mean_pnl) * token.2, 2), -- noqa: RF02
                    tokens.token_results
                )
            ) / totals.trade_count
        ) as pnl_error,
        totals.average_win as average_win,
        totals.average_loss as average_loss,
        totals.profit_factor as profit_factor,
        totals.median_pnl as median_pnl,
        totals.best_pnl as best_pnl,
        totals.worst_pnl as worst_pnl,
        totals.total_pnl as total_pnl,
        totals.first_call_at as first_call_at,
        totals.last_call_at as last_call_at,
        toBool(totals.trade_count < 20 or tokens.token_count < 5) as is_small_sample,
        totals.good_data_trade_count as good_data_trade_count
    from totals
    left join tokens
        on
            totals.strategy_name = tokens.strategy_name
            and totals.strategy_version = tokens.strategy_version
            and totals.month = tokens.month
            and totals.caller_source = tokens.caller_source
            and totals.caller_handle = tokens.caller_handle
)

select
    row_number() over (
        partition by
            strategy_name,
            strategy_version,
            month
        order by
            is_small_sample,
            mean_pnl_lower desc nulls last,
            trade_count desc,
            caller_source,
            caller_handle
    ) as month_rank,
    strategy_name,
    strategy_version,
    month,
    caller_source,
    caller_handle,
    call_count,
    trade_count,
    skipped_count,
    token_count,
    win_count,
    win_rate,
    win_rate_lower,
    win_rate_upper,
    mean_pnl,
    mean_pnl - pnl_error as mean_pnl_lower,
    mean_pnl + pnl_error as mean_pnl_upper,
    mean_pnl as expectancy,
    average_win,
    average_loss,
    profit_factor,
    median_pnl,
    best_pnl,
    worst_pnl,
    total_pnl,
    first_call_at,
    last_call_at,
    is_small_sample,
    good_data_trade_count
from results
