-- Callers under strategy versions: the first of each leaderboard, and those that were asked for.
-- grain: one row per strategy version and caller; caller_count is the number of all callers of the strategy version
-- parameters: caller_limit; caller_sources and caller_handles, pairwise
-- units: as in mart_caller_leaderboard
with
ranked as (
    select
        caller_rank,
        strategy_name,
        strategy_version,
        caller_source,
        caller_handle,
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
        good_data_trade_count,
        count() over (partition by strategy_name, strategy_version) as caller_count
    from mart_caller_leaderboard
)

select
    caller_rank,
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
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
    good_data_trade_count,
    caller_count
from ranked
where
    caller_rank <= {caller_limit:UInt32}
    or (caller_source, caller_handle) in arrayZip({caller_sources:Array(String)}, {caller_handles:Array(String)})
order by strategy_name, strategy_version, caller_rank
