-- grain: one table of this database that keeps rows
select
    name as table_name,
    engine,
    toInt64(ifNull(total_rows, 0)) as total_rows
from system.tables
where database = currentDatabase() and endsWith(engine, 'MergeTree')
order by name
