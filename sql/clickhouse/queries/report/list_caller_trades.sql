-- The latest calls of callers under every strategy version, and what became of them.
-- grain: one row per caller, strategy version and call, latest first; trade_total is the number of all of the caller
-- parameters: caller_sources and caller_handles, pairwise; strategy and version (empty: every one), since_s,
--   trade_limit (by caller)
-- units: as in mart_caller_trades; times in seconds since the epoch, UTC
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
    count() over (partition by caller_source, caller_handle) as trade_total
from mart_caller_trades
where
    (caller_source, caller_handle) in arrayZip({caller_sources:Array(String)}, {caller_handles:Array(String)})
    and {strategy:String} in ('', strategy_name)
    and {version:String} in ('', strategy_version)
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
order by caller_source, caller_handle, signal_timestamp desc, call_id desc, strategy_name, strategy_version
limit {trade_limit:UInt32} by caller_source, caller_handle
