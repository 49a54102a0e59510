-- The trade that shows most: the most kinds of event, then the number of events nearest to eight, so that
-- a drawing of it stays readable; then the oldest. A call that was not published yet has no caller and no time.
-- grain: at most one row
-- parameters: strategy, version and caller_handle (empty: every one), caller_source, since_s
-- units: times in seconds since the epoch, UTC; pnl on capital 1
select
    strategy_name,
    strategy_version,
    simulation_run_id,
    call_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    symbol,
    toInt64(toUnixTimestamp(signal_timestamp)) as signal_s,
    pnl
from int_trades
where
    has_bought
    and caller_handle != ''
    and {strategy:String} in ('', strategy_name)
    and {version:String} in ('', strategy_version)
    and (
        {caller_handle:String} = ''
        or (caller_source = {caller_source:String} and caller_handle = {caller_handle:String})
    )
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
order by
    event_type_count desc,
    abs(toInt64(event_count) - 8),
    signal_timestamp,
    call_id,
    strategy_name,
    strategy_version
limit 1
