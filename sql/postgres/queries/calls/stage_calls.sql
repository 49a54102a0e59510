-- Calls of one derivation; gone when the transaction ends.
create temporary table staged_calls (
    alert_id bigint not null,
    token_id bigint not null,
    caller_id bigint not null,
    side text not null,
    signal_type text not null,
    signal_strength double precision,
    signal_timestamp timestamptz not null,
    metadata_json jsonb not null,
    inactive_reason text
) on commit drop
