-- grain: one view of the database, with its definition and what its comments say
select
    tables.name as view_name,
    tables.create_table_query as definition,
    tables.comment as view_comment,
    columns.comments as column_comments
from system.tables as tables
left join (
    select
        table,
        arrayMap(pair -> pair.2, arraySort(groupArray((position, comment)))) as comments
    from system.columns
    where database = currentDatabase()
    group by table
) as columns on tables.name = columns.table
where tables.database = currentDatabase() and tables.engine = 'View'
