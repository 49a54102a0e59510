-- What became of every call under every strategy version: the trade, or that it was skipped.
-- grain: one row per strategy version and call. Where windows of current runs overlap, a call was simulated more
--   than once; the run that was completed last (then the one with the greater id) speaks for it, so that no call
--   counts twice.
-- keys: strategy_name, strategy_version, call_id
-- units: times in UTC; pnl = realised profit on capital 1 (0.25 means 25 % of the trade's capital); cash_spent as a
--   share of that capital; entered_at, exited_at and exit_event are null for a call that was skipped
-- upstream: stg_events of int_current_backtests, stg_calls. A call that was not published yet has an empty
--   caller_handle.
--   data_quality is of the candles that the trade's run read, see stg_runs.
-- depends: int_current_backtests, stg_events, stg_calls
-- test: unique(strategy_name, strategy_version, call_id)
-- test: relationship(call_id, stg_calls.call_id)
-- test: holds(has_bought or pnl = 0)
-- test: holds(not has_bought or entered_at <= exited_at)
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
    from stg_events
    where simulation_run_id in (select current.simulation_run_id from int_current_backtests as current)
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
inner join int_current_backtests as runs on outcomes.simulation_run_id = runs.simulation_run_id
left join stg_calls as calls on outcomes.call_id = calls.call_id
order by
    runs.completed_at desc,
    outcomes.simulation_run_id desc
limit
    1 by
    strategy_name,
    strategy_version,
    call_id
