/*
description: Which calls are in force, by whom and on which token?
grain: one row per active call
columns:
  call_id: {meaning: Call}
  alert_id: {meaning: Alert that the call was derived from}
  caller_id: {meaning: "Caller's id in Postgres, aliases followed"}
  caller_source: {meaning: "Where the caller calls, such as telegram"}
  caller_handle: {meaning: "Name of the caller at the source, aliases followed"}
  token_id: {meaning: Token's id in Postgres}
  chain: {meaning: Chain of the token}
  token_address: {meaning: Address of the token on its chain}
  symbol: {meaning: "Ticker of the token, as an alert or the source of candles gave it"}
  side: {meaning: "What the caller said: buy or sell"}
  signal_type: {meaning: "Kind of signal: entry, exit, scale_in or scale_out"}
  signal_timestamp: {meaning: When the caller said it, unit: UTC}
  alert_price: {meaning: Price in the alert; null where it gave none, unit: quote currency}
tests:
  - unique: [call_id]
  - not_null: [caller_handle]
  - accepted_values: {column: signal_type, values: [entry, exit, scale_in, scale_out]}
*/
select
    calls.id as call_id,
    calls.alert_id,
    calls.caller_id,
    callers.source as caller_source,
    callers.handle as caller_handle,
    calls.token_id,
    tokens.chain,
    tokens.address as token_address,
    tokens.symbol,
    calls.side,
    calls.signal_type,
    calls.signal_timestamp,
    alerts.alert_price
from {{ source('calls') }} as calls
inner join {{ source('alerts') }} as alerts on calls.alert_id = alerts.id
inner join {{ source('callers') }} as callers on calls.caller_id = callers.id
inner join {{ source('tokens') }} as tokens on calls.token_id = tokens.id
where calls.is_active
