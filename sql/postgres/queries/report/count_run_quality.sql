-- Current backtests by strategy version and by what their candles were like.
-- grain: one row per strategy version and verdict
-- units: trade_count of the runs' summaries
select
    strategy_name,
    strategy_version,
    data_quality,
    count(*) as run_count,
    sum(trade_count)::bigint as trade_count
from int_run_results
group by strategy_name, strategy_version, data_quality
order by strategy_name, strategy_version, data_quality
