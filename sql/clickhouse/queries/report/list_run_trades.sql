-- The calls that runs looked at, and what became of them, where the run speaks for the call.
-- grain: one row per run and call, first call first; trade_total is the number of all of the run
-- parameters: run_ids, trade_limit (by run)
-- units: as in mart_trades; times in seconds since the epoch, UTC
select
    strategy_name,
    strategy_version,
    toInt64(simulation_run_id) as run_id,
    call_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    symbol,
    toInt64(toUnixTimestamp(signal_timestamp)) as signal_s,
    outcome,
    toInt64(toUnixTimestamp(entered_at)) as entered_s,
    holding_minutes,
    exit_event,
    coalesce(exit_reason, skip_reason) as end_reason,
    pnl,
    buy_count,
    sell_count,
    target_count,
    reentry_count,
    data_quality,
    count() over (partition by simulation_run_id) as trade_total
from mart_trades
where simulation_run_id in {run_ids:Array(UInt64)}
order by simulation_run_id, signal_timestamp, call_id
limit {trade_limit:UInt32} by simulation_run_id
