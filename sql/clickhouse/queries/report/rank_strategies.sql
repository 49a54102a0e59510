-- The strategy leaderboard.
-- grain: one row per strategy version, best first
-- units: as in mart_strategy_leaderboard
select
    strategy_rank,
    strategy_name,
    strategy_version,
    trade_count,
    skipped_count,
    token_count,
    win_rate,
    win_rate_lower,
    mean_pnl,
    mean_pnl_lower,
    median_pnl,
    total_pnl,
    is_small_sample,
    good_data_trade_count
from mart_strategy_leaderboard
order by strategy_rank
