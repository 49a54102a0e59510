-- Mirror of what Postgres says may be shown, for the views in ClickHouse. Postgres stays the source of truth:
-- the whole mirror can be written again at any time. Replacing by row_version (microseconds of the last
-- change in Postgres): an older copy that arrives late never wins. Every read uses FINAL.

-- Grain: one completed run. Key: simulation_run_id.
create table if not exists published_runs
(
    simulation_run_id UInt64,
    run_type LowCardinality(String),
    strategy_name LowCardinality(String),
    strategy_version LowCardinality(String),
    config_hash String,
    engine_version LowCardinality(String),
    -- Empty for a run over many tokens.
    chain LowCardinality(String),
    token_address String,
    window_start DateTime('UTC'),
    window_end DateTime('UTC'),
    is_current Bool,
    trade_count UInt64,
    completed_at DateTime('UTC'),
    row_version UInt64
)
engine = ReplacingMergeTree(row_version)
order by simulation_run_id;

-- Grain: one call. Key: call_id.
-- Units: alert_price in quote currency, alert_market_cap in USD, as the alert named them.
create table if not exists published_calls
(
    call_id Int64,
    caller_source LowCardinality(String),
    caller_handle String,
    chain LowCardinality(String),
    token_address String,
    symbol Nullable(String),
    signal_timestamp DateTime('UTC'),
    signal_type LowCardinality(String),
    side LowCardinality(String),
    alert_price Nullable(Float64),
    alert_market_cap Nullable(Float64),
    row_version UInt64
)
engine = ReplacingMergeTree(row_version)
order by call_id;
