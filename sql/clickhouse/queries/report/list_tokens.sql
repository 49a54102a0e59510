-- Results by token under each strategy version: what brought most, and what cost most, first.
-- grain: one row per strategy version and token, of the tokens of the first rows and those that most hangs on; row_count
--   is the number of all that the filter leaves, token_count of their tokens
-- parameters: strategy and version (empty: every one), row_limit, token_limit
-- units: as in mart_token_results; token_place counts tokens by what they brought or cost under any strategy version
with
weighed as (
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
        max(abs(total_pnl)) over (partition by chain, token_address) as weight
    from mart_token_results
    where
        {strategy:String} in ('', strategy_name)
        and {version:String} in ('', strategy_version)
),

numbered as (
    select
        *,
        row_number() over (
            order by abs(total_pnl) desc, chain, token_address, strategy_name, strategy_version
        ) as place,
        dense_rank() over (order by weight desc, chain, token_address) as token_place,
        count() over () as row_count,
        uniqExact(chain, token_address) over () as token_count
    from weighed
)

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
    token_place,
    row_count,
    token_count
from numbered
where place <= {row_limit:UInt32} or token_place <= {token_limit:UInt32}
order by place
