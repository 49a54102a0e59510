-- Calls with who made them and on which token.
-- grain: one row per call
-- keys: call_id
-- units: signal_timestamp in UTC; alert_price in quote currency, alert_market_cap in USD, as the alert said
-- upstream: published_calls, the mirror of Postgres' calls (the newest row_version of a call counts)
-- depends: published_calls
-- test: unique(call_id)
-- test: not_null(call_id)
-- test: accepted(side, buy, sell)
-- test: accepted(signal_type, entry, exit, scale_in, scale_out)
select
    call_id,
    caller_source,
    caller_handle,
    chain,
    token_address,
    symbol,
    signal_timestamp,
    signal_type,
    side,
    alert_price,
    alert_market_cap
from published_calls final
