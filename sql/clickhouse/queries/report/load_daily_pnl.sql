-- Realised pnl by the UTC day on which trades closed.
-- grain: one row per strategy version and day on which at least one of its trades closed, oldest first
-- units: day as YYYY-MM-DD; pnl = sum over the day's trades, each on capital 1
select
    strategy_name,
    strategy_version,
    toString(toDate(day, 'UTC')) as day,
    pnl,
    trade_count
from mart_equity_by_day
where trade_count > 0
order by
    strategy_name,
    strategy_version,
    day
