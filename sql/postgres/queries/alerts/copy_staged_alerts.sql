copy staged_alerts (
    chain,
    address,
    caller_source,
    caller_handle,
    caller_name,
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
    raw_payload_json
) from stdin
