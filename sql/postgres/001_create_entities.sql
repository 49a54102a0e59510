-- Entities: tokens, callers, strategies, alerts, calls.
--
-- Types, once for all files: bigint identity keys; timestamptz for every time (stored as UTC); jsonb for
-- documents; text with a check for enumerations (a new value is one migration, without rewriting a type).
-- Prices are double precision, not numeric: numeric(38,18) rounds at the 18th digit (half away from zero),
-- which leaves a price of 1.2345e-15 as 1.235e-15; float64 keeps 15 to 17 digits at every scale, and it is
-- what the engine computes with, so that no hop changes a value.

create function set_updated_at() returns trigger
language plpgsql
as $$
begin
    -- clock_timestamp, not now(): of two transactions that update one row, the later one gets the later
    -- time, also when it began earlier and waited. The mirror in ClickHouse versions its rows by it.
    new.updated_at = clock_timestamp();
    return new;
end;
$$;

comment on function set_updated_at() is 'Keeps updated_at; increases with every change of one row.';


create table tokens (
    id bigint generated always as identity primary key,
    chain text not null check (chain <> ''),
    address text not null check (address <> ''),
    symbol text,
    name text,
    decimals smallint check (decimals between 0 and 255),
    metadata_json jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint tokens_chain_address_unique unique (chain, address)
);

create trigger tokens_set_updated_at before update on tokens
for each row execute function set_updated_at();

comment on table tokens is 'One row per token: a chain (or exchange) and an address (or pair name) on it.';
comment on column tokens.chain is 'Chain or exchange, canonical: solana, ethereum, binance, ...';
comment on column tokens.address is
'Canonical address: EVM in one case, Solana base58 as it is, on exchanges the pair name.';
comment on column tokens.symbol is 'Ticker as last imported; null while unknown. Not unique.';
comment on column tokens.decimals is 'Decimal places of the smallest unit on chain; null while unknown.';


create table callers (
    id bigint generated always as identity primary key,
    source text not null check (source <> ''),
    handle text not null,
    display_name text,
    attributes_json jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint callers_source_handle_unique unique (source, handle)
);

create trigger callers_set_updated_at before update on callers
for each row execute function set_updated_at();

comment on table callers is 'One row per caller: who makes calls, within a source.';
comment on column callers.source is 'Where the caller speaks: brook, lsy, or the user''s own name of a source.';
comment on column callers.handle is 'Name within the source, as normalised by the import; may hold any Unicode.';


create table strategies (
    id bigint generated always as identity primary key,
    name text not null check (name <> ''),
    version text not null check (version <> ''),
    category text not null,
    description text not null,
    config_json jsonb not null,
    config_hash text not null check (config_hash ~ '^[0-9a-f]{64}$'),
    is_active boolean not null default true,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint strategies_name_version_unique unique (name, version)
);

create trigger strategies_set_updated_at before update on strategies
for each row execute function set_updated_at();

comment on table strategies is 'One row per strategy version.';
comment on column strategies.config_json is 'The whole strategy document; fixed once a run used it (trigger).';
comment on column strategies.config_hash is
'sha256 hex of the canonical config, without name, version, category, description.';
comment on column strategies.is_active is 'Whether new simulations use it.';


create table alerts (
    id bigint generated always as identity primary key,
    token_id bigint not null references tokens (id),
    caller_id bigint not null references callers (id),
    strategy_id bigint references strategies (id),
    side text not null check (side in ('buy', 'sell')),
    signal_type text not null check (signal_type in ('entry', 'exit', 'scale_in', 'scale_out')),
    confidence double precision check (confidence > '-Infinity' and confidence < 'Infinity'),
    -- NaN sorts above infinity in Postgres, so these bounds refuse NaN and both infinities.
    alert_price double precision check (alert_price > 0 and alert_price < 'Infinity'),
    alert_market_cap double precision check (alert_market_cap >= 0 and alert_market_cap < 'Infinity'),
    alert_timestamp timestamptz not null,
    content_key text not null check (content_key ~ '^[0-9a-f]{64}$'),
    raw_payload_json jsonb not null,
    import_id bigint,
    created_at timestamptz not null default clock_timestamp(),
    constraint alerts_content_key_unique unique (content_key)
);

create index alerts_token_timestamp on alerts (token_id, alert_timestamp);
create index alerts_caller_timestamp on alerts (caller_id, alert_timestamp);
create index alerts_strategy on alerts (strategy_id) where strategy_id is not null;
create index alerts_import on alerts (import_id);

comment on table alerts is 'One row per alert as a caller sent it; the same alert imported again is this row.';
comment on column alerts.strategy_id is 'The strategy that the alert names, if any.';
comment on column alerts.confidence is 'The sender''s own confidence, in the sender''s scale; null when unsaid.';
comment on column alerts.alert_price is 'Price that the alert names, quote currency of the token''s candles.';
comment on column alerts.alert_market_cap is 'Market capitalisation that the alert names, USD.';
comment on column alerts.alert_timestamp is 'When the alert was made, UTC.';
comment on column alerts.content_key is
'Natural key, sha256 hex: of the source''s message id, else of the alert''s content.';
comment on column alerts.raw_payload_json is
'The input row as it was read. U+0000, which jsonb cannot hold, is written as U+2400.';
comment on column alerts.import_id is 'The import that first brought the alert.';


create table calls (
    id bigint generated always as identity primary key,
    alert_id bigint not null references alerts (id),
    token_id bigint not null references tokens (id),
    caller_id bigint not null references callers (id),
    strategy_id bigint references strategies (id),
    side text not null check (side in ('buy', 'sell')),
    signal_type text not null check (signal_type in ('entry', 'exit', 'scale_in', 'scale_out')),
    signal_strength double precision
    check (signal_strength > '-Infinity' and signal_strength < 'Infinity'),
    signal_timestamp timestamptz not null,
    metadata_json jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    constraint calls_alert_unique unique (alert_id)
);

create index calls_token_timestamp on calls (token_id, signal_timestamp);
create index calls_caller_timestamp on calls (caller_id, signal_timestamp);
create index calls_timestamp on calls (signal_timestamp, id);
create index calls_strategy on calls (strategy_id) where strategy_id is not null;

comment on table calls is 'One row per call: what an alert asks for, derived from it and derivable again.';
comment on column calls.alert_id is 'The alert it was derived from; its natural key.';
comment on column calls.signal_strength is 'The alert''s confidence, in the sender''s scale; null when unsaid.';
comment on column calls.signal_timestamp is 'When the call was made, UTC.';
