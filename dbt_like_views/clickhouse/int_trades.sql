/*
description: "What became of every call under every strategy version: which trade, or was it skipped?"
grain: one row per strategy version and call
columns:
  strategy_name: {meaning: Strategy}
  strategy_version: {meaning: Version of the strategy}
  call_id: {meaning: Call}
  simulation_run_id: {meaning: Simulation run}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  signal_timestamp: {meaning: When the caller said it, unit: UTC}
  has_bought: {meaning: Whether the call led to a buy; else it was skipped, unit: true or false}
  entered_at: {meaning: First buy; null for a call that was skipped, unit: UTC}
  exited_at: {meaning: Last sell; null for a call that was skipped, unit: UTC}
  exit_event: {meaning: Why the last sell happened; null for a call that was skipped}
  cash_spent: {meaning: Sum of all buys, unit: fraction of the trade's capital}
  pnl:
    meaning: Profit of the trade after costs, 0 for a call that was skipped; 0.25 is 25 %
    unit: fraction of the trade's capital
  event_count: {meaning: Events of the trade, unit: events}
  event_type_count: {meaning: Different kinds of events of the trade, unit: kinds}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse (docs/candle-
      quality.md)"
tests:
  - unique: [strategy_name, strategy_version, call_id]
  - relationships: {column: call_id, to: stg_calls.call_id}
  - expression: has_bought or pnl = 0
  - expression: not has_bought or entered_at <= exited_at
notes: |
  Where windows of current runs overlap, a call was simulated more than once; the run that was completed last (then the
  one with the greater id) speaks for it, so that no call counts twice. A call that was not published yet has an empty
  caller_handle.
*/
with
outcomes as (
    select
        simulation_run_id,
        call_id,
        any(chain) as trade_chain,
        any(token_address) as trade_token_address,
        count() as event_count,
        uniqExact(event_type) as event_type_count,
        max(is_buy) as has_bought,
        sumIf(size, is_buy) as cash_spent,
        argMax(pnl_so_far, seq) as pnl,
        minOrNullIf(event_time, is_buy) as entered_at,
        maxOrNullIf(event_time, is_sell) as exited_at,
        argMaxOrNullIf(event_type, seq, is_sell) as exit_event
    from {{ ref('stg_events') }}
    where simulation_run_id in (select current.simulation_run_id from {{ ref('int_current_backtests') }} as current)
    group by
        simulation_run_id,
        call_id
)

select
    runs.strategy_name as strategy_name,
    runs.strategy_version as strategy_version,
    outcomes.call_id as call_id,
    outcomes.simulation_run_id as simulation_run_id,
    calls.caller_source as caller_source,
    calls.caller_handle as caller_handle,
    outcomes.trade_chain as chain,
    outcomes.trade_token_address as token_address,
    calls.symbol as symbol,
    calls.signal_timestamp as signal_timestamp,
    outcomes.has_bought as has_bought,
    outcomes.entered_at as entered_at,
    outcomes.exited_at as exited_at,
    outcomes.exit_event as exit_event,
    outcomes.cash_spent as cash_spent,
    outcomes.pnl as pnl,
    outcomes.event_count as event_count,
    outcomes.event_type_count as event_type_count,
    runs.data_quality as data_quality
from outcomes
inner join {{ ref('int_current_backtests') }} as runs on outcomes.simulation_run_id = runs.simulation_run_id
left join {{ ref('stg_calls') }} as calls on outcomes.call_id = calls.call_id
order by
    runs.completed_at desc,
    outcomes.simulation_run_id desc
limit
    1 by
    strategy_name,
    strategy_version,
    call_id
