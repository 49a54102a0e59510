-- grain: one row per applied migration
create table if not exists schema_migrations
(
    number UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(6, 'UTC') default now64(6)
)
engine = ReplacingMergeTree
order by number
