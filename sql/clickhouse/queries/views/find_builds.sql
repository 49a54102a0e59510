-- grain: one view or table of the database of builds
select
    name as build_name,
    engine <> 'View' as is_table,
    comment as contents,
    create_table_query as definition
from system.tables
where database = {builds_database:String}
