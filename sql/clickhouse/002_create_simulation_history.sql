-- Events and aggregates of simulation runs. No partitions: the rows of one insert are few enough to be one
-- block, and an insert of one block into one partition is atomic. Rows are visible to readers once their run
-- is completed in Postgres and mirrored in published_runs.

-- Grain: one event of one trade. Key: (simulation_run_id, call_id, seq).
-- Units: event_time UTC seconds; price in quote currency, NaN where the event has none; size in cash for buys,
-- as a share of what the cycle bought for sells; remaining_position in [0, 1]; pnl_so_far as a fraction of
-- the trade's capital.
create table if not exists simulation_events
(
    simulation_run_id UInt64 codec(Delta, ZSTD(1)),
    chain LowCardinality(String),
    token_address LowCardinality(String),
    call_id Int64 codec(Delta, ZSTD(1)),
    seq Int32 codec(Delta, ZSTD(1)),
    event_time DateTime('UTC') codec(Delta, ZSTD(1)),
    event_type LowCardinality(String),
    price Float64 codec(ZSTD(1)),
    size Float64 codec(ZSTD(1)),
    remaining_position Float64 codec(ZSTD(1)),
    pnl_so_far Float64 codec(ZSTD(1)),
    indicators_json String codec(ZSTD(1)),
    position_state_json String codec(ZSTD(1)),
    metadata_json String codec(ZSTD(1))
)
engine = ReplacingMergeTree
order by (simulation_run_id, call_id, seq);

-- Grain: one token of one run. Key: (simulation_run_id, chain, token_address).
-- Units: as simulation_results_summary in Postgres; ratios are null when undefined.
create table if not exists simulation_aggregates
(
    simulation_run_id UInt64,
    chain LowCardinality(String),
    token_address LowCardinality(String),
    final_pnl Float64,
    max_drawdown Nullable(Float64),
    volatility Nullable(Float64),
    sharpe_ratio Nullable(Float64),
    sortino_ratio Nullable(Float64),
    win_rate Nullable(Float64),
    trade_count UInt64,
    reentry_count UInt64,
    ladder_entries_used UInt64,
    ladder_exits_used UInt64,
    created_at DateTime('UTC') default now()
)
engine = ReplacingMergeTree
order by (simulation_run_id, chain, token_address);
