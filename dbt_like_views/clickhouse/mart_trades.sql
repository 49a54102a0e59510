/*
description: "Which trades were made, how did they begin and why did they end?"
grain: "one row per strategy version and call, calls that were skipped included"
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  call_id: {meaning: Call}
  simulation_run_id: {meaning: Simulation run}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  chain: {meaning: Chain (or exchange) of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: Ticker of the token; null where nobody named it}
  signal_timestamp: {meaning: When the caller said it, unit: UTC}
  outcome: {meaning: "won, lost, even (a profit of exactly 0) or skipped"}
  entered_at: {meaning: First buy; null for a call that was skipped, unit: UTC}
  entry_order:
    meaning: "Order of the first buy: market, limit or stop_buy; null for a call that was skipped and where none was noted"
  entry_reason:
    meaning: "Why the first buy was a market order after the signal: timeout or scale_in_call; null otherwise"
  entry_price:
    meaning: "Price of the first buy, after slippage; null for a call that was skipped"
    unit: quote currency
  exited_at: {meaning: Last sell; null for a call that was skipped, unit: UTC}
  exit_event:
    meaning: "Event that sold last: target_hit, stop_loss, trailing_stop, signal_exit, time_exit or final_exit; null for a
      call that was skipped"
  exit_reason:
    meaning: "Why it sold last: horizon, max_hold, exit_call, signal or end_of_data; of a stop initial, break_even or
      trailing; of a target its number, as in 'target 2'; else the event. Null for a call that was skipped"
  exit_price:
    meaning: "Price of the last sell, after slippage; null for a call that was skipped"
    unit: quote currency
  skip_reason:
    meaning: "Why a call never led to a buy: no_candles, overlap, nothing_to_scale, timeout, horizon or end_of_data; null for
      a trade and where none was noted"
  pnl:
    meaning: "Profit of the trade after costs, 0 for a call that was skipped; 0.25 is 25 %"
    unit: fraction of the trade's capital
  return_on_cash:
    meaning: Profit over the cash that the trade spent; null for a call that was skipped
    unit: fraction of the cash
  cash_spent: {meaning: "Sum of all buys, fees included", unit: fraction of the trade's capital}
  holding_minutes:
    meaning: "From the first buy to the last sell, times between cycles included; null for a call that was skipped"
    unit: minutes
  was_open_at_end:
    meaning: "Whether the candles ended while the trade was open, so that it was sold at the last close: its result is not
      the strategy's"
    unit: true or false
  buy_count: {meaning: "Buys: entry, ladder legs, scale-ins, re-entries", unit: events}
  sell_count: {meaning: "Sells: targets, stops, exits", unit: events}
  reentry_count: {meaning: Buys after the trade had sold all, unit: events}
  target_count: {meaning: Targets that were hit, unit: events}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse (docs/candle-quality.md)"
tests:
  - unique: [strategy_name, strategy_version, call_id]
  - accepted_values: {column: outcome, values: [won, lost, even, skipped]}
  - expression: (outcome = 'skipped') = (entered_at is null)
  - expression: (outcome = 'skipped') = (exit_reason is null)
notes: |
  Ask for a strategy and a limit: the table behind it is sorted by strategy and time of the call. For a caller's trades
  ask mart_caller_trades.
*/
select
    strategy_name,
    strategy_version,
    call_id,
    simulation_run_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    symbol,
    signal_timestamp,
    multiIf(
        not has_bought, 'skipped',
        pnl > 0, 'won',
        pnl < 0, 'lost',
        'even'
    ) as outcome,
    entered_at,
    entry_order,
    entry_reason,
    entry_price,
    exited_at,
    exit_event,
    exit_reason,
    exit_price,
    skip_reason,
    pnl,
    if(has_bought, pnl / cash_spent, null) as return_on_cash,
    cash_spent,
    holding_minutes,
    toBool(coalesce(exit_event = 'final_exit', false)) as was_open_at_end,
    buy_count,
    sell_count,
    reentry_count,
    target_count,
    data_quality
from {{ ref('int_trades') }}
