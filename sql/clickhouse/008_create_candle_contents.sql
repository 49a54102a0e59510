-- What months of candles were hashed to, so that months that did not change are not hashed again. Nothing but a memory:
-- it may be emptied at any time, and a restored database begins without it.

-- Grain: one interval of one token in one partition of ohlcv_candles; where a token has no candles in a partition, one
-- row with an empty interval says so. Key: (chain, token_address, partition_id, interval).
-- parts_digest: which parts the partition had. Parts never change, so the same parts are the same candles; a row counts
-- only while its digest is that of the partition (queries/candles/load_parts_digests.sql).
-- The other columns are those of queries/candles/load_contents.sql.
create table if not exists candle_contents
(
    chain LowCardinality(String),
    token_address LowCardinality(String),
    partition_id LowCardinality(String),
    parts_digest LowCardinality(String),
    interval LowCardinality(String),
    month LowCardinality(String),
    candle_count Int64,
    first_s Int64,
    last_s Int64,
    content String,
    imported Int64,
    row_version UInt64 default toUnixTimestamp64Micro(now64(6))
)
engine = ReplacingMergeTree(row_version)
order by (chain, token_address, partition_id, interval);
