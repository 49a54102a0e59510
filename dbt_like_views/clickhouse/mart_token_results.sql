/*
description: "Which tokens brought and cost the most, under each strategy?"
grain: one row per strategy version and token with a simulated call
materialized: table
order_by: [strategy_name, strategy_version, token_rank]
columns:
  token_rank:
    meaning: "Place within the strategy version by total_pnl, then by trades; 1 brought the most"
    unit: rank
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  chain: {meaning: Chain (or exchange) of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: Ticker of the token; null where nobody named it}
  call_count: {meaning: "Calls that were simulated: trade_count + skipped_count", unit: calls}
  trade_count: {meaning: Trades that bought, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  caller_count: {meaning: Callers with a trade, unit: callers}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of trades with a profit after costs; null without a trade, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of a trade after costs; null without a trade; 0.25 is 25 %
    unit: fraction of the trade's capital
  median_pnl:
    meaning: Exact median of the trades' profits; null without a trade
    unit: fraction of the trade's capital
  best_pnl: {meaning: Profit of the best trade; null without a trade, unit: fraction of the trade's capital}
  worst_pnl: {meaning: Profit of the worst trade; null without a trade, unit: fraction of the trade's capital}
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  first_call_at: {meaning: Moment of the first call, unit: UTC}
  last_call_at: {meaning: Moment of the last call, unit: UTC}
  good_data_trade_count: {meaning: Trades of runs whose candles were judged good, unit: trades}
tests:
  - unique: [strategy_name, strategy_version, chain, token_address]
  - unique: [strategy_name, strategy_version, token_rank]
  - expression: win_count <= trade_count
  - expression: call_count = trade_count + skipped_count
  - expression: worst_pnl <= best_pnl
notes: |
  What one token brought says little of the next: this is to find where a strategy's result comes from.
*/
with
results as (
    select
        trades.strategy_name as strategy_name,
        trades.strategy_version as strategy_version,
        trades.chain as chain,
        trades.token_address as token_address,
        anyLast(trades.symbol) as symbol,
        count() as call_count,
        countIf(trades.has_bought) as trade_count,
        countIf(not trades.has_bought) as skipped_count,
        uniqExactIf((trades.caller_source, trades.caller_handle), trades.has_bought) as caller_count,
        countIf(trades.pnl > 0) as win_count,
        if(trade_count = 0, null, win_count / trade_count) as win_rate,
        if(trade_count = 0, null, sum(trades.pnl) / trade_count) as mean_pnl,
        if(trade_count = 0, null, quantileExactInclusiveIf(0.5)(trades.pnl, trades.has_bought)) as median_pnl,
        maxOrNullIf(trades.pnl, trades.has_bought) as best_pnl,
        minOrNullIf(trades.pnl, trades.has_bought) as worst_pnl,
        sum(trades.pnl) as total_pnl,
        min(trades.signal_timestamp) as first_call_at,
        max(trades.signal_timestamp) as last_call_at,
        countIf(trades.has_bought and trades.data_quality = 'good') as good_data_trade_count
    from {{ ref('int_trades') }} as trades
    group by
        strategy_name,
        strategy_version,
        chain,
        token_address
)

select
    row_number() over (
        partition by
            strategy_name,
            strategy_version
        order by
            total_pnl desc,
            trade_count desc,
            chain,
            token_address
    ) as token_rank,
    strategy_name,
    strategy_version,
    chain,
    token_address,
    symbol,
    call_count,
    trade_count,
    skipped_count,
    caller_count,
    win_count,
    win_rate,
    mean_pnl,
    median_pnl,
    best_pnl,
    worst_pnl,
    total_pnl,
    first_call_at,
    last_call_at,
    good_data_trade_count
from results
