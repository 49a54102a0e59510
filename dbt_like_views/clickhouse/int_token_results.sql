/*
description: "What did the trades of each token add up to, per strategy version and caller?"
grain: "one row per strategy version, caller and token"
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  chain: {meaning: Chain (or exchange) of the token}
  token_address: {meaning: Address of the token on its chain}
  trade_count: {meaning: Trades that bought, unit: trades}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  skipped_count: {meaning: Calls that never led to a buy, unit: calls}
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
tests:
  - unique: [strategy_name, strategy_version, caller_source, caller_handle, chain, token_address]
  - expression: win_count <= trade_count
notes: |
  Trades of one token rise and fall together, so the leaderboards take the token, not the trade, as the unit that is
  independent of others.
*/
select
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    chain,
    token_address,
    countIf(has_bought) as trade_count,
    countIf(has_bought and pnl > 0) as win_count,
    countIf(not has_bought) as skipped_count,
    sum(pnl) as total_pnl
from {{ ref('int_trades') }}
group by
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    chain,
    token_address
