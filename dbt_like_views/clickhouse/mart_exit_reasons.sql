/*
description: "How do a strategy's trades end, why are calls skipped, and what does each way bring?"
grain: "one row per strategy version, last selling event and its reason; and one per reason for which calls were
  skipped"
materialized: table
order_by: [strategy_name, strategy_version, outcome, exit_event, exit_reason]
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  outcome: {meaning: "traded, or skipped where the call never led to a buy"}
  exit_event: {meaning: "Event that sold last, or entry_skipped"}
  exit_reason:
    meaning: "Why it sold last (see mart_trades), or why the call was skipped; unknown where none was noted"
  call_count: {meaning: "Calls whose trade ended so, or that were skipped for this", unit: calls}
  share_of_calls: {meaning: call_count over all calls of the strategy version, unit: fraction of calls}
  win_count: {meaning: Trades with a profit after costs, unit: trades}
  win_rate: {meaning: Share of these trades with a profit; null for calls that were skipped, unit: fraction of trades}
  mean_pnl:
    meaning: Mean profit of these trades; null for calls that were skipped
    unit: fraction of the trade's capital
  median_pnl:
    meaning: Exact median of these trades' profits; null for calls that were skipped
    unit: fraction of the trade's capital
  total_pnl: {meaning: "Sum of the trades' profits, each on capital 1", unit: capitals of a trade}
  mean_holding_minutes:
    meaning: Mean time from the first buy to the last sell; null for calls that were skipped
    unit: minutes
tests:
  - unique: [strategy_name, strategy_version, outcome, exit_event, exit_reason]
  - accepted_values: {column: outcome, values: [traded, skipped]}
  - expression: share_of_calls > 0 and share_of_calls <= 1
  - expression: win_count <= call_count
  - expression: outcome = 'traded' or total_pnl = 0
notes: |
  The shares of a strategy version add up to 1. A trade with several sells is under its last one.
*/
select
    trades.strategy_name as strategy_name,
    trades.strategy_version as strategy_version,
    if(trades.has_bought, 'traded', 'skipped') as outcome,
    coalesce(trades.exit_event, 'entry_skipped') as exit_event,
    coalesce(trades.exit_reason, trades.skip_reason, 'unknown') as exit_reason,
    count() as call_count,
    call_count / sum(count()) over (
        partition by
            trades.strategy_name,
            trades.strategy_version
    ) as share_of_calls,
    countIf(trades.pnl > 0) as win_count,
    if(outcome = 'traded', win_count / call_count, null) as win_rate,
    if(outcome = 'traded', sum(trades.pnl) / call_count, null) as mean_pnl,
    if(outcome = 'traded', quantileExactInclusive(0.5)(trades.pnl), null) as median_pnl,
    sum(trades.pnl) as total_pnl,
    avgOrNull(trades.holding_minutes) as mean_holding_minutes
from {{ ref('int_trades') }} as trades
group by
    strategy_name,
    strategy_version,
    outcome,
    exit_event,
    exit_reason
