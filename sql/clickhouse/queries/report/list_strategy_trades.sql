-- The latest calls under each strategy version, and what became of them.
-- grain: one row per strategy version and call, latest first; trade_total is the number of all of the strategy version
-- parameters: strategy_names and strategy_versions, pairwise; strategy, version and caller_handle (empty: every one),
--   caller_source, since_s, trade_limit (by strategy version)
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
    count() over (partition by strategy_name, strategy_version) as trade_total
from mart_trades
where
    (strategy_name, strategy_version) in arrayZip(
        {strategy_names:Array(String)}, {strategy_versions:Array(String)}
    )
    and {strategy:String} in ('', strategy_name)
    and {version:String} in ('', strategy_version)
    and (
        {caller_handle:String} = ''
        or (caller_source = {caller_source:String} and caller_handle = {caller_handle:String})
    )
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
order by strategy_name, strategy_version, signal_timestamp desc, call_id desc
limit {trade_limit:UInt32} by strategy_name, strategy_version
