-- Everything that happened in simulated trades, each event once.
-- grain: one row per event of a completed run, superseded ones included
-- keys: simulation_run_id, call_id, seq
-- units: event_time in UTC; price in quote currency; size = cash spent by a buy (a trade's capital is 1), share of
--   what the cycle bought for a sell; remaining_position a fraction of what the cycle bought; pnl_so_far a
--   fraction of the trade's capital
-- upstream: simulation_events of the runs in published_runs: what a dead attempt wrote is not shown
-- depends: simulation_events, published_runs
-- test: unique(simulation_run_id, call_id, seq)
-- test: accepted(event_type, entry, ladder_entry, scale_in, re_entry, target_hit, stop_loss, trailing_stop, signal_exit, time_exit, final_exit, stop_moved, entry_skipped)
-- test: holds(isFinite(pnl_so_far))
select
    simulation_run_id,
    call_id,
    seq,
    chain,
    token_address,
    event_time,
    toString(event_type) as event_type,
    price,
    size,
    remaining_position,
    pnl_so_far,
    event_type in ('entry', 'ladder_entry', 'scale_in', 're_entry') as is_buy,
    event_type in ('target_hit', 'stop_loss', 'trailing_stop', 'signal_exit', 'time_exit', 'final_exit')
        as is_sell
from simulation_events final
where simulation_run_id in (select published.simulation_run_id from published_runs as published)
