/*
description: Which calls were made, by whom and on which token?
grain: one row per call
columns:
  call_id: {meaning: Call}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  signal_timestamp: {meaning: When the caller said it, unit: UTC}
  signal_type: {meaning: "Kind of signal: entry, exit, scale_in or scale_out"}
  side: {meaning: "What the caller said: buy or sell"}
  alert_price: {meaning: Price in the alert; null where it gave none, unit: quote currency}
  alert_market_cap: {meaning: Market capitalisation in the alert; null where it gave none, unit: USD}
tests:
  - unique: [call_id]
  - not_null: [call_id]
  - accepted_values: {column: side, values: [buy, sell]}
  - accepted_values: {column: signal_type, values: [entry, exit, scale_in, scale_out]}
notes: |
  The mirror of the calls in Postgres: the newest row_version of a call counts.
*/
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
from {{ source('published_calls') }} final
