-- Results by token under each strategy version: what brought most, and what cost most, first.
-- grain: one row per strategy version and token; row_count is the number of all that the filter leaves
-- parameters: strategy (empty: every one), row_limit
-- units: as in mart_token_results
select
    token_rank,
    strategy_name,
    strategy_version,
    chain,
    token_address,
    symbol,
    trade_count,
    skipped_count,
    caller_count,
    win_rate,
    mean_pnl,
    median_pnl,
    total_pnl,
    count() over () as row_count
from mart_token_results
where {strategy:String} = '' or strategy_name = {strategy:String}
order by abs(total_pnl) desc, chain, token_address, strategy_name, strategy_version
limit {row_limit:UInt32}
