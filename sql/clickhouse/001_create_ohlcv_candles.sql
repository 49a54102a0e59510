-- Grain: one candle of one token and one interval. Key: (chain, token_address, interval, timestamp).
-- Units: timestamp = open time, UTC, whole seconds (UInt32 seconds: 1970 to 2106); prices in quote currency,
-- volume in base currency, float64 as imported.
-- Partition by chain and month: what one simulation partition reads, what one re-import replaces.
-- Order: one token's range of one interval is one range of the primary key. `interval` comes before the
-- timestamp, so that 1m and 5m rows of a token never interleave.
-- Codecs: measured, see docs/data-model.md.
-- Replacing by imported_at: of candles of the same key the newest import stays; every read uses FINAL.

create table if not exists ohlcv_candles
(
    chain LowCardinality(String),
    token_address LowCardinality(String),
    interval LowCardinality(String),
    timestamp DateTime('UTC') codec(DoubleDelta, ZSTD(1)),
    open Float64 codec(Delta, ZSTD(1)),
    high Float64 codec(Delta, ZSTD(1)),
    low Float64 codec(Delta, ZSTD(1)),
    close Float64 codec(Delta, ZSTD(1)),
    volume Float64 codec(ZSTD(1)),
    imported_at DateTime64(6, 'UTC') default now64(6) codec(Delta, ZSTD(1))
)
engine = ReplacingMergeTree(imported_at)
partition by (chain, toYYYYMM(timestamp))
order by (chain, token_address, interval, timestamp);
