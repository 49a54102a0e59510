-- How trades ended, under each strategy version.
-- grain: one row per strategy version and last selling event; an empty one where nothing was sold
-- parameters: strategy (empty: every one), since_s
-- units: pnl on capital 1 per trade
select
    strategy_name,
    strategy_version,
    coalesce(exit_event, '') as exit_reason,
    count() as trade_count,
    countIf(pnl > 0) as win_count,
    sum(pnl) / count() as mean_pnl,
    sum(pnl) as total_pnl
from int_trades
where
    has_bought
    and ({strategy:String} = '' or strategy_name = {strategy:String})
    and toInt64(toUnixTimestamp(signal_timestamp)) >= {since_s:Int64}
group by strategy_name, strategy_version, exit_reason
order by strategy_name, strategy_version, trade_count desc, exit_reason
