-- Runs of one claim; gone when the transaction ends.
create temporary table staged_runs (
    run_key text not null,
    scope_key text not null,
    strategy_id bigint not null,
    token_id bigint,
    caller_id bigint,
    run_type text not null,
    engine_version text not null,
    config_hash text not null,
    config_json jsonb not null,
    data_selection_json jsonb not null,
    window_start timestamptz not null,
    window_end timestamptz not null
) on commit drop
