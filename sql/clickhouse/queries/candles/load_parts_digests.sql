-- grain: one partition of candles that has rows
-- keys: partition_id
-- upstream: system.parts
-- parts_digest: which parts it has, by name and hash of their files, and the form of hash in load_contents.sql (1: to be
-- counted up with it). A part never changes: inserts, merges, deletions and mutations make new ones.
-- chain: empty where it can't be told from the partition's key.
-- is_plain: 0 where parts do not tell everything: rows patched without a new part, or a table that several servers share.
select
    partition_id,
    extract(any(partition), '^\\(\'([A-Za-z0-9_.-]+)\',\\d+\\)$') as chain,
    hex(SHA256(concat(
        'form 1 ', arrayStringConcat(arraySort(groupArray(concat(name, ' ', hash_of_all_files))), ' ')
    ))) as parts_digest,
    toUInt8(any(engine) = 'ReplacingMergeTree' and not startsWith(partition_id, 'patch-')) as is_plain
from system.parts
where database = currentDatabase() and table = 'ohlcv_candles' and active
group by partition_id
order by partition_id
