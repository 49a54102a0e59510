copy staged_runs (
    run_key,
    scope_key,
    strategy_id,
    token_id,
    caller_id,
    run_type,
    engine_version,
    config_hash,
    config_json,
    data_selection_json,
    window_start,
    window_end
) from stdin
