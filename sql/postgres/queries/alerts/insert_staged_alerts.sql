-- grain: one row per content key that is not stored yet; sorted by key against deadlocks.
insert into alerts (
    token_id,
    caller_id,
    side,
    signal_type,
    confidence,
    alert_price,
    alert_market_cap,
    alert_timestamp,
    content_key,
    message_id,
    chat_id,
    address_kind,
    attributes_json,
    raw_payload_json,
    import_id
)
select
    tokens.id,
    callers.id,
    staged.side,
    staged.signal_type,
    staged.confidence,
    staged.alert_price,
    staged.alert_market_cap,
    staged.alert_timestamp,
    staged.content_key,
    staged.message_id,
    staged.chat_id,
    staged.address_kind,
    staged.attributes_json,
    staged.raw_payload_json,
    %(import_id)s::bigint
from staged_alerts as staged
inner join tokens on staged.chain = tokens.chain and staged.address = tokens.address
inner join callers
    on staged.caller_source = callers.source and staged.caller_handle = callers.handle
order by staged.content_key
on conflict (content_key) do nothing
