-- The caller leaderboard: whose calls earned, under each strategy version.
-- grain: one row per strategy version and caller, see mart_caller_leaderboard; row_count is the number of rows without
--   the limit
-- units: pnl on capital 1 per trade; times in seconds since the epoch, UTC
-- parameters: sort, a name below or empty for the order of the view; direction, 1 or -1; is_descending; row_limit;
--   filters, empty or 0 for none
with rows_of_view as
(
    select
        caller_rank,
        caller_source,
        caller_handle,
        strategy_name,
        strategy_version,
        call_count,
        trade_count,
        skipped_count,
        token_count,
        win_rate,
        win_rate_lower,
        win_rate_upper,
        mean_pnl,
        mean_pnl_lower,
        mean_pnl_upper,
        median_pnl,
        best_pnl,
        worst_pnl,
        total_pnl,
        toInt64(toUnixTimestamp(first_call_at)) as first_call_s,
        toInt64(toUnixTimestamp(last_call_at)) as last_call_s,
        is_small_sample,
        good_data_trade_count
    from mart_caller_leaderboard
    where
        {strategy:String} in ('', strategy_name, concat(strategy_name, '@', strategy_version))
        and {caller:String} in ('', caller_handle, concat(caller_source, '/', caller_handle))
        and ({since_s:Int64} = 0 or last_call_at >= toDateTime({since_s:Int64}, 'UTC'))
),

keyed as
(
    select
        *,
        multiIf(
            {sort:String} = 'rank', toFloat64(caller_rank),
            {sort:String} = 'calls', toFloat64(call_count),
            {sort:String} = 'trades', toFloat64(trade_count),
            {sort:String} = 'tokens', toFloat64(token_count),
            {sort:String} = 'win', toFloat64(win_rate),
            {sort:String} = 'mean', toFloat64(mean_pnl),
            {sort:String} = 'least', toFloat64(mean_pnl_lower),
            {sort:String} = 'median', toFloat64(median_pnl),
            {sort:String} = 'best', toFloat64(best_pnl),
            {sort:String} = 'worst', toFloat64(worst_pnl),
            {sort:String} = 'sum', toFloat64(total_pnl),
            {sort:String} = 'last', toFloat64(last_call_s),
            null
        ) as sort_number,
        multiIf(
            {sort:String} = 'caller', concat(caller_source, '/', caller_handle),
            {sort:String} = 'strategy', concat(strategy_name, '@', strategy_version),
            ''
        ) as sort_text,
        count() over () as row_count
    from rows_of_view
)

select
    caller_rank,
    caller_source,
    caller_handle,
    strategy_name,
    strategy_version,
    call_count,
    trade_count,
    skipped_count,
    token_count,
    win_rate,
    win_rate_lower,
    win_rate_upper,
    mean_pnl,
    mean_pnl_lower,
    mean_pnl_upper,
    median_pnl,
    best_pnl,
    worst_pnl,
    total_pnl,
    first_call_s,
    last_call_s,
    is_small_sample,
    good_data_trade_count,
    row_count
from keyed
order by
    sort_number * {direction:Int8} nulls last,
    if({is_descending:UInt8}, '', sort_text),
    if({is_descending:UInt8}, sort_text, '') desc,
    is_small_sample,
    mean_pnl_lower desc nulls last,
    trade_count desc,
    caller_source,
    caller_handle,
    strategy_name,
    strategy_version
limit {row_limit:UInt64}
