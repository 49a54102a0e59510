-- Results of callers by month, under every strategy version.
-- grain: one row per caller, strategy version and month of the call, oldest first
-- parameters: caller_sources and caller_handles, pairwise; strategy (empty: every one), since_s
-- units: month as YYYY-MM; pnl on capital 1 per trade
select
    caller_source,
    caller_handle,
    strategy_name,
    strategy_version,
    formatDateTime(signal_timestamp, '%Y-%m') as month,
    countIf(has_bought) as trade_count,
    countIf(not has_bought) as skipped_count,
    if(trade_count = 0, null, countIf(has_bought and pnl > 0) / trade_count) as win_rate,
    if(trade_count = 0, null, sum(pnl) / trade_count) as mean_pnl,
    sum(pnl) as total_pnl
from int_trades
where
    (caller_source, caller_handle) in arrayZip({caller_sources:Array(String)}, {caller_handles:Array(String)})
    and ({strategy:String} = '' or strategy_name = {strategy:String})
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
group by caller_source, caller_handle, strategy_name, strategy_version, month
order by caller_source, caller_handle, strategy_name, strategy_version, month
