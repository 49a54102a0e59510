-- grain: one table that is not the server's own
select
    schemaname as schema_name,
    tablename as table_name
from pg_catalog.pg_tables
where schemaname <> 'information_schema' and schemaname not like 'pg\_%'
order by schemaname, tablename
