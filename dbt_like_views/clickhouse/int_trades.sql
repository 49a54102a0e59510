/*
description: "What became of every call under every strategy version: which trade, or was it skipped?"
grain: one row per strategy version and call
materialized: table
order_by: [strategy_name, strategy_version, signal_timestamp, call_id]
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
  has_bought: {meaning: Whether the call led to a buy; else it was skipped, unit: true or false}
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
  cash_spent: {meaning: "Sum of all buys, fees included", unit: fraction of the trade's capital}
  pnl:
    meaning: "Profit of the trade after costs, 0 for a call that was skipped; 0.25 is 25 %"
    unit: fraction of the trade's capital
  holding_minutes:
    meaning: "From the first buy to the last sell, times between cycles included; null for a call that was skipped"
    unit: minutes
  buy_count: {meaning: "Buys: entry, ladder legs, scale-ins, re-entries", unit: events}
  sell_count: {meaning: "Sells: targets, stops, exits", unit: events}
  reentry_count: {meaning: Buys after the trade had sold all, unit: events}
  target_count: {meaning: Targets that were hit, unit: events}
  event_count: {meaning: Events of the trade, unit: events}
  event_type_count: {meaning: Different kinds of events of the trade, unit: kinds}
  data_quality:
    meaning: "Verdict on the candles that the run read: unknown, good, gaps, stale or sparse (docs/candle-quality.md)"
tests:
  - unique: [strategy_name, strategy_version, call_id]
  - relationships: {column: call_id, to: stg_calls.call_id}
  - not_null: [strategy_name, caller_handle, pnl]
  - accepted_values: {column: exit_event, values: [target_hit, stop_loss, trailing_stop, signal_exit, time_exit, final_exit]}
  - expression: has_bought or pnl = 0
  - expression: not has_bought or entered_at <= exited_at
  - expression: has_bought = (exit_reason is not null)
notes: |
  Where windows of current runs overlap, a call was simulated more than once; the run that was completed last (then
  the one with the greater id) speaks for it, so that no call counts twice. A call that was not published yet has an
  empty caller_handle. A table, as most marts read it: grouping the events for each of them would take longer than
  anybody waits (docs/views.md).
*/
with
-- Runs whose window another current run of their strategy version on the same token overlaps: only their calls can have
-- been simulated more than once. A run over many tokens may overlap with any other.
contested as (
    select timed.simulation_run_id as simulation_run_id
    from
        (
            select
                runs.simulation_run_id as simulation_run_id,
                runs.window_start as window_start,
                runs.window_end as window_end,
                max(runs.window_end) over (
                    partition by
                        runs.strategy_name,
                        runs.strategy_version,
                        runs.chain,
                        runs.token_address
                    order by
                        runs.window_start,
                        runs.simulation_run_id
                    rows between unbounded preceding and 1 preceding
                ) as end_before,
                leadInFrame(runs.window_start, 1, runs.window_end) over (
                    partition by
                        runs.strategy_name,
                        runs.strategy_version,
                        runs.chain,
                        runs.token_address
                    order by
                        runs.window_start,
                        runs.simulation_run_id
                    rows between current row and unbounded following
                ) as start_after,
                max(runs.token_address = '') over (
                    partition by
                        runs.strategy_name,
                        runs.strategy_version
                ) as has_wide_run
            from {{ ref('int_current_backtests') }} as runs
        ) as timed
    where timed.end_before > timed.window_start or timed.start_after < timed.window_end or timed.has_wide_run
),

-- Of a call's simulations all but the one that was completed last.
beaten as (
    select
        placed.simulation_run_id as simulation_run_id,
        placed.call_id as call_id
    from
        (
            select
                begun.simulation_run_id as simulation_run_id,
                begun.call_id as call_id,
                row_number() over (
                    partition by
                        runs.strategy_name,
                        runs.strategy_version,
                        begun.call_id
                    order by
                        runs.completed_at desc,
                        begun.simulation_run_id desc
                ) as place
            from {{ ref('stg_events') }} as begun
            inner join {{ ref('int_current_backtests') }} as runs on begun.simulation_run_id = runs.simulation_run_id
            where
                begun.seq = 0
                and begun.simulation_run_id in (select contested.simulation_run_id from contested)
        ) as placed
    where placed.place > 1
),

outcomes as (
    select
        events.simulation_run_id as simulation_run_id,
        events.call_id as call_id,
        any(events.chain) as trade_chain,
        any(events.token_address) as trade_token_address,
        count() as event_count,
        uniqExact(events.event_type) as event_type_count,
        toBool(max(events.is_buy)) as has_bought,
        countIf(events.is_buy) as buy_count,
        countIf(events.is_sell) as sell_count,
        countIf(events.event_type = 're_entry') as reentry_count,
        countIf(events.event_type = 'target_hit') as target_count,
        sumIf(events.size, events.is_buy) as cash_spent,
        argMax(events.pnl_so_far, events.seq) as pnl,
        minOrNullIf(events.event_time, events.is_buy) as entered_at,
        maxOrNullIf(events.event_time, events.is_sell) as exited_at,
        argMinOrNullIf(events.price, events.seq, events.is_buy) as entry_price,
        argMaxOrNullIf(events.price, events.seq, events.is_sell) as exit_price,
        argMaxOrNullIf(events.event_type, events.seq, events.is_sell) as exit_event,
        argMinIf(events.metadata_json, events.seq, events.is_buy) as entry_metadata,
        argMaxIf(events.metadata_json, events.seq, events.is_sell) as exit_metadata,
        argMaxIf(events.metadata_json, events.seq, events.event_type = 'entry_skipped') as skip_metadata
    from {{ ref('stg_events') }} as events
    where
        events.simulation_run_id in (select runs.simulation_run_id from {{ ref('int_current_backtests') }} as runs)
        and (events.simulation_run_id, events.call_id) not in (
            select
                beaten.simulation_run_id,
                beaten.call_id
            from beaten
        )
    group by
        events.simulation_run_id,
        events.call_id
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
    nullIf(JSONExtractString(outcomes.entry_metadata, 'order'), '') as entry_order,
    nullIf(JSONExtractString(outcomes.entry_metadata, 'reason'), '') as entry_reason,
    outcomes.entry_price as entry_price,
    outcomes.exited_at as exited_at,
    outcomes.exit_event as exit_event,
    multiIf(
        not outcomes.has_bought,
        null,
        JSONHas(outcomes.exit_metadata, 'reason'),
        JSONExtractString(outcomes.exit_metadata, 'reason'),
        JSONHas(outcomes.exit_metadata, 'stop'),
        JSONExtractString(outcomes.exit_metadata, 'stop'),
        JSONHas(outcomes.exit_metadata, 'target'),
        concat('target ', JSONExtractRaw(outcomes.exit_metadata, 'target')),
        outcomes.exit_event
    ) as exit_reason,
    outcomes.exit_price as exit_price,
    if(
        outcomes.has_bought,
        null,
        nullIf(JSONExtractString(outcomes.skip_metadata, 'reason'), '')
    ) as skip_reason,
    outcomes.cash_spent as cash_spent,
    outcomes.pnl as pnl,
    dateDiff('second', outcomes.entered_at, outcomes.exited_at) / 60 as holding_minutes,
    outcomes.buy_count as buy_count,
    outcomes.sell_count as sell_count,
    outcomes.reentry_count as reentry_count,
    outcomes.target_count as target_count,
    outcomes.event_count as event_count,
    outcomes.event_type_count as event_type_count,
    runs.data_quality as data_quality
from outcomes
inner join {{ ref('int_current_backtests') }} as runs on outcomes.simulation_run_id = runs.simulation_run_id
left join {{ ref('stg_calls') }} as calls on outcomes.call_id = calls.call_id
settings optimize_aggregation_in_order = 1
