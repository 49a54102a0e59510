-- grain: one schema that is not the server's own
select nspname as schema_name
from pg_catalog.pg_namespace
where nspname <> 'information_schema' and nspname not like 'pg\_%'
order by nspname
