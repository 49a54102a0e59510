-- Realised pnl by the UTC day on which trades closed.
-- grain: one row per strategy version and day on which at least one of its trades closed, oldest first
-- units: day as YYYY-MM-DD; pnl = sum over the day's trades, each on capital 1
select
    strategy_name,
    strategy_version,
    toString(toDate(exited_at, 'UTC')) as day,
    sum(pnl) as pnl,
    count() as trade_count
from int_trades
where has_bought
group by
    strategy_name,
    strategy_version,
    day
order by
    strategy_name,
    strategy_version,
    day
