-- Results by token, under each strategy version; the tokens with most trades first.
-- grain: one row per strategy version and token; row_count is the number of all that the filters leave
-- parameters: strategy (empty: every one), since_s, row_limit
-- units: pnl on capital 1 per trade
with
results as (
    select
        strategy_name,
        strategy_version,
        chain,
        token_address,
        any(symbol) as token_symbol,
        countIf(has_bought) as trade_count,
        countIf(not has_bought) as skipped_count,
        countIf(has_bought and pnl > 0) as win_count,
        uniqExact((caller_source, caller_handle)) as caller_count,
        sum(pnl) as total_pnl
    from int_trades
    where
        ({strategy:String} = '' or strategy_name = {strategy:String})
        and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
    group by strategy_name, strategy_version, chain, token_address
)

select
    strategy_name,
    strategy_version,
    chain,
    token_address,
    token_symbol,
    trade_count,
    skipped_count,
    win_count,
    caller_count,
    total_pnl,
    if(trade_count = 0, null, total_pnl / trade_count) as mean_pnl,
    count() over () as row_count
from results
order by trade_count desc, chain, token_address, strategy_name, strategy_version
limit {row_limit:UInt32}
