-- grain: one view or table of the schema of builds
select
    relations.relname as build_name,
    relations.relkind = 'r' as is_table,
    case when relations.relkind = 'v' then pg_catalog.pg_get_viewdef(relations.oid) else '' end as definition
from pg_catalog.pg_class as relations
inner join pg_catalog.pg_namespace as schemas on relations.relnamespace = schemas.oid
where schemas.nspname = 'view_builds' and relations.relkind in ('v', 'r')
