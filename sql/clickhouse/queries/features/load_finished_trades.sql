-- grain: one call of one current completed backtest run of a strategy, whose trade ended before the data did
-- keys: simulation_run_id, call_id
-- units: began_at and done_at UTC seconds, the times of the first and the last event; pnl as a fraction of the trade's
--   capital
-- upstream: published_runs, simulation_events
-- Trades that never bought are left out, and those that the end of the data closed: their result is not known.
with current_runs as
(
    select simulation_run_id
    from published_runs final
    where is_current and run_type = 'backtest' and strategy_name = {strategy:String}
)

select
    toInt64(simulation_run_id) as simulation_run_id,
    call_id,
    toInt64(toUnixTimestamp(min(event_time))) as began_at,
    toInt64(toUnixTimestamp(max(event_time))) as done_at,
    argMax(pnl_so_far, seq) as pnl
from simulation_events final
where simulation_run_id in (select simulation_run_id from current_runs)
group by simulation_run_id, call_id
having
    countIf(event_type in ('entry', 'ladder_entry', 'scale_in', 're_entry')) > 0
    and argMax(event_type, seq) != 'final_exit'
order by call_id, simulation_run_id
