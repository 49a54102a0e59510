-- Features that models are trained on, and what models say of calls. The newest insert of a key wins.

-- Grain: one call in one feature set. Key: (feature_set, call_id).
create table if not exists ml_features
(
    feature_set LowCardinality(String),
    call_id Int64,
    chain LowCardinality(String),
    token_address LowCardinality(String),
    signal_timestamp DateTime('UTC'),
    -- NaN where a feature is unknown for the call.
    `values` Map(LowCardinality(String), Float64) codec(ZSTD(1)),
    row_version UInt64 default toUnixTimestamp64Micro(now64(6))
)
engine = ReplacingMergeTree(row_version)
order by (feature_set, call_id);

-- Grain: one call scored by one model. Key: (model_id, call_id).
create table if not exists ml_scores
(
    model_id Int64,
    call_id Int64,
    score Float64,
    row_version UInt64 default toUnixTimestamp64Micro(now64(6))
)
engine = ReplacingMergeTree(row_version)
order by (model_id, call_id);
