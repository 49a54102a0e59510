-- Trades added up per strategy version, caller and token. Trades of one token rise and fall together, so the
-- leaderboards take the token, not the trade, as the unit that is independent of others.
-- grain: one row per strategy version, caller and token
-- keys: strategy_name, strategy_version, caller_source, caller_handle, chain, token_address
-- units: total_pnl = sum of pnl, each on capital 1; trade_count counts trades that bought,
--   skipped_count the calls that never did
-- upstream: int_trades
-- depends: int_trades
-- test: unique(strategy_name, strategy_version, caller_source, caller_handle, chain, token_address)
-- test: holds(win_count <= trade_count)
select
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    chain,
    token_address,
    countIf(has_bought) as trade_count,
    countIf(has_bought and pnl > 0) as win_count,
    countIf(not has_bought) as skipped_count,
    sum(pnl) as total_pnl
from int_trades
group by
    strategy_name,
    strategy_version,
    caller_source,
    caller_handle,
    chain,
    token_address
