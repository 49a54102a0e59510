-- What tables hold, in few letters.
-- grain: one row, about all tables together
-- parameters: table_names
-- table_count: how many of them have parts, which tell.
-- blocks: the last block that was inserted into each partition, and the last one that deleted from it. Merges leave it as
-- it is, but a server that was started after a partition was emptied may count from the beginning again.
-- parts: all parts and their files. Merges change it, though no row does.
-- started_s: when the server was started, to a second; 0 in its first three seconds, when it could be told from one that
-- ran right before by nothing.
-- units: started_s seconds since the epoch
select
    countIf(tables.engine like '%MergeTree') as table_count,
    hex(sipHash128(arraySort(groupArray((tables.name, tables.uuid, held.blocks))))) as blocks,
    hex(sipHash128(arraySort(groupArray((tables.name, held.parts))))) as parts,
    if(uptime() < 3, 0, toInt64(toUnixTimestamp(now())) - toInt64(uptime())) as started_s
from system.tables as tables
left join (
    select
        table,
        toString(arraySort(groupArray((partition_id, last_block, last_mutation)))) as blocks,
        toString(arraySort(arrayFlatten(groupArray(partition_parts)))) as parts
    from (
        select
            table,
            partition_id,
            max(max_block_number) as last_block,
            -- The version of a part that was never mutated is its first block, which merges change.
            maxIf(data_version, data_version <> min_block_number) as last_mutation,
            groupArray(concat(name, ' ', hash_of_all_files)) as partition_parts
        from system.parts
        where database = currentDatabase() and active
        group by
            table,
            partition_id
    )
    group by table
) as held on tables.name = held.table
where tables.database = currentDatabase() and has({table_names:Array(String)}, tables.name)
