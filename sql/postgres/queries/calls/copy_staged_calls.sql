copy staged_calls (
    alert_id,
    token_id,
    caller_id,
    side,
    signal_type,
    signal_strength,
    signal_timestamp,
    metadata_json,
    inactive_reason
) from stdin
