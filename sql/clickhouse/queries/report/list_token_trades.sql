-- The latest calls on tokens under every strategy version, and what became of them.
-- grain: one row per token, strategy version and call, latest first; trade_total is the number of all on the token
-- parameters: chains and token_addresses, pairwise; strategy, version and caller_handle (empty: every one),
--   caller_source, since_s, trade_limit (by token)
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
    count() over (partition by chain, token_address) as trade_total
from mart_trades
where
    (chain, token_address) in arrayZip({chains:Array(String)}, {token_addresses:Array(String)})
    and {strategy:String} in ('', strategy_name)
    and {version:String} in ('', strategy_version)
    and (
        {caller_handle:String} = ''
        or (caller_source = {caller_source:String} and caller_handle = {caller_handle:String})
    )
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
order by chain, token_address, signal_timestamp desc, call_id desc, strategy_name, strategy_version
limit {trade_limit:UInt32} by chain, token_address
