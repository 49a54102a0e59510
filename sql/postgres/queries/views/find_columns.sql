-- grain: one column of a build, in its order
select
    columns.attname as column_name,
    pg_catalog.format_type(columns.atttypid, columns.atttypmod) as column_type
from pg_catalog.pg_attribute as columns
inner join pg_catalog.pg_class as relations on columns.attrelid = relations.oid
inner join pg_catalog.pg_namespace as schemas on relations.relnamespace = schemas.oid
where
    schemas.nspname = 'view_builds' and relations.relname = %(build_name)s and columns.attnum > 0
    and not columns.attisdropped
order by columns.attnum
