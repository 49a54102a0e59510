-- What became of calls, the newest call first.
-- grain: one row per strategy version and call, see mart_trades; row_count is the number of rows without the limit
-- units: times in seconds since the epoch, UTC; pnl and cash_spent fractions of the trade's capital
-- parameters: sort, a name below or empty for the order of the view; direction, 1 or -1; is_descending; row_limit;
--   filters, empty or 0 for none
with rows_of_view as
(
    select
        call_id,
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle,
        chain,
        token_address,
        coalesce(symbol, '') as token_symbol,
        toInt64(toUnixTimestamp(signal_timestamp)) as signal_s,
        outcome,
        toInt64(toUnixTimestamp(entered_at)) as entered_s,
        toInt64(toUnixTimestamp(exited_at)) as exited_s,
        coalesce(exit_reason, skip_reason) as reason,
        exit_event,
        if(outcome = 'skipped', null, pnl) as trade_pnl,
        cash_spent,
        holding_minutes,
        simulation_run_id,
        data_quality
    from mart_trades
    where
        {strategy:String} in ('', strategy_name, concat(strategy_name, '@', strategy_version))
        and {caller:String} in ('', caller_handle, concat(caller_source, '/', caller_handle))
        and {token:String} in ('', token_address, concat(chain, ':', token_address), coalesce(symbol, ''))
        and ({since_s:Int64} = 0 or signal_timestamp >= toDateTime({since_s:Int64}, 'UTC'))
        and ({run_id:Int64} = 0 or simulation_run_id = {run_id:Int64})
        and ({outcome:String} in ('', outcome) or ({outcome:String} = 'traded' and outcome != 'skipped'))
),

keyed as
(
    select
        *,
        multiIf(
            {sort:String} = 'call', toFloat64(call_id),
            {sort:String} = 'called', toFloat64(signal_s),
            {sort:String} = 'entered', toFloat64(entered_s),
            {sort:String} = 'exited', toFloat64(exited_s),
            {sort:String} = 'pnl', toFloat64(trade_pnl),
            {sort:String} = 'minutes', toFloat64(holding_minutes),
            {sort:String} = 'run', toFloat64(simulation_run_id),
            null
        ) as sort_number,
        multiIf(
            {sort:String} = 'strategy', concat(strategy_name, '@', strategy_version),
            {sort:String} = 'caller', concat(caller_source, '/', caller_handle),
            {sort:String} = 'token', if(token_symbol = '', token_address, token_symbol),
            {sort:String} = 'outcome', outcome,
            {sort:String} = 'why', coalesce(reason, ''),
            ''
        ) as sort_text,
        count() over () as row_count
    from rows_of_view
)

select
    call_id,
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    chain,
    token_address,
    token_symbol,
    signal_s,
    outcome,
    entered_s,
    exited_s,
    reason,
    exit_event,
    trade_pnl,
    cash_spent,
    holding_minutes,
    simulation_run_id,
    data_quality,
    row_count
from keyed
order by
    sort_number * {direction:Int8} nulls last,
    if({is_descending:UInt8}, '', sort_text),
    if({is_descending:UInt8}, sort_text, '') desc,
    signal_s desc,
    call_id desc,
    strategy_name,
    strategy_version
limit {row_limit:UInt64}
