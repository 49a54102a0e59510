copy staged_alerts (
    chain,
    address,
    caller_source,
    caller_handle,
    side,
    signal_type,
    confidence,
    alert_price,
    alert_market_cap,
    alert_timestamp,
    content_key,
    raw_payload_json
) from stdin
