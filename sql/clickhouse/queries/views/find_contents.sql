-- What tables hold, as far as inserts, deletions and dropped partitions change it and merges don't.
-- grain: one table
select
    tables.name as table_name,
    tables.engine like '%MergeTree' as has_parts,
    coalesce(parts.contents, '') as contents
from system.tables as tables
left join (
    select
        table,
        toString(arraySort(groupArray((partition_id, last_block, last_mutation)))) as contents
    from (
        select
            table,
            partition_id,
            max(max_block_number) as last_block,
            -- The version of a part that was never mutated is its first block, which merges change.
            maxIf(data_version, data_version <> min_block_number) as last_mutation
        from system.parts
        where database = currentDatabase() and active
        group by
            table,
            partition_id
    )
    group by table
) as parts on tables.name = parts.table
where tables.database = currentDatabase() and has({table_names:Array(String)}, tables.name)
order by tables.name
