-- grain: one call of one current completed backtest run: one trade
-- keys: simulation_run_id, call_id
-- units: times UTC seconds; pnl as a fraction of the trade's capital
-- upstream: published_runs, published_calls, simulation_events
with current_runs as
(
    select
        simulation_run_id,
        strategy_name,
        strategy_version
    from published_runs final
    where is_current and run_type = 'backtest'
),

trades as
(
    select
        simulation_run_id,
        call_id,
        countIf(event_type in ('entry', 'ladder_entry', 'scale_in', 're_entry')) > 0 as has_bought,
        if(
            has_bought,
            toInt64(toUnixTimestamp(minIf(
                event_time, event_type in ('entry', 'ladder_entry', 'scale_in', 're_entry')
            ))),
            null
        ) as entered_at,
        toInt64(toUnixTimestamp(max(event_time))) as done_at,
        argMax(pnl_so_far, seq) as pnl,
        argMax(event_type, seq) as last_event_type
    from simulation_events final
    where simulation_run_id in (select simulation_run_id from current_runs)
    group by simulation_run_id, call_id
)

select
    r.strategy_name as strategy_name,
    r.strategy_version as strategy_version,
    toInt64(t.simulation_run_id) as simulation_run_id,
    t.call_id as call_id,
    c.caller_source as caller_source,
    c.caller_handle as caller_handle,
    c.chain as chain,
    c.token_address as token_address,
    toInt64(toUnixTimestamp(c.signal_timestamp)) as signal_timestamp,
    t.entered_at as entered_at,
    t.done_at as done_at,
    t.pnl as pnl,
    toBool(t.has_bought) as has_bought,
    t.last_event_type as exit_event_type
from trades as t
inner join current_runs as r on t.simulation_run_id = r.simulation_run_id
inner join (select * from published_calls final) as c on t.call_id = c.call_id
order by strategy_name, strategy_version, signal_timestamp, call_id, simulation_run_id
