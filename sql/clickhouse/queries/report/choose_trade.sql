-- The trade that shows most: the most kinds of event, then the number of events nearest to eight, so that
-- a drawing of it stays readable; then the oldest. A call that was not published yet has no caller and no time.
-- grain: at most one row
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
where has_bought and caller_handle != ''
order by
    event_type_count desc,
    abs(toInt64(event_count) - 8),
    signal_timestamp,
    call_id,
    strategy_name,
    strategy_version
limit 1
