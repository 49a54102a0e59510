-- Results of callers by month, under every strategy version.
-- grain: one row per caller, strategy version and month of the call, oldest first
-- parameters: caller_sources and caller_handles, pairwise; strategy and version (empty: every one), since_s: months that
--   it lies in or before
-- units: month as YYYY-MM; else as in mart_caller_months
select
    caller_source,
    caller_handle,
    strategy_name,
    strategy_version,
    formatDateTime(month, '%Y-%m') as month_name,
    trade_count,
    skipped_count,
    win_rate,
    mean_pnl,
    mean_pnl_lower,
    total_pnl,
    is_small_sample
from mart_caller_months
where
    (caller_source, caller_handle) in arrayZip({caller_sources:Array(String)}, {caller_handles:Array(String)})
    and {strategy:String} in ('', strategy_name)
    and {version:String} in ('', strategy_version)
    and toInt64(toUnixTimestamp(toDateTime(month + interval 1 month, 'UTC'))) > {since_s:Int64}
order by caller_source, caller_handle, strategy_name, strategy_version, month
