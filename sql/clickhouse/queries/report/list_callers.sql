-- Callers under strategy versions: the first of each leaderboard, or the one that was asked for.
-- grain: one row per strategy version and caller; version_caller_count is the number of all callers of the strategy
--   version, caller_count of all strategy versions that the filter leaves
-- parameters: strategy, version and caller_handle (empty: every one), caller_source, caller_limit (by strategy version)
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
        count() over (partition by strategy_name, strategy_version) as version_caller_count,
        uniqExactIf((caller_source, caller_handle), caller_handle != '') over () as caller_count
    from mart_caller_leaderboard
    where
        {strategy:String} in ('', strategy_name)
        and {version:String} in ('', strategy_version)
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
    version_caller_count,
    caller_count
from ranked
where
    ({caller_handle:String} = '' and caller_rank <= {caller_limit:UInt32})
    or ({caller_handle:String} != '' and caller_source = {caller_source:String} and caller_handle = {caller_handle:String})
order by strategy_name, strategy_version, caller_rank
