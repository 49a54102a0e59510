-- Alerts of one import, before tokens and callers have ids; gone when the transaction ends.
create temporary table staged_alerts (
    chain text not null,
    address text not null,
    caller_source text not null,
    caller_handle text not null,
    caller_name text,
    side text not null,
    signal_type text not null,
    confidence double precision,
    alert_price double precision,
    alert_market_cap double precision,
    alert_timestamp timestamptz not null,
    content_key text not null,
    message_id text,
    chat_id text,
    address_kind text not null,
    attributes_json jsonb not null,
    raw_payload_json jsonb not null
) on commit drop
