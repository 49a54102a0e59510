-- grain: one view of the schema that people read, with its definition and what its comments say
select
    views.relname as view_name,
    pg_catalog.pg_get_viewdef(views.oid) as definition,
    coalesce(pg_catalog.obj_description(views.oid, 'pg_class'), '') as view_comment,
    coalesce(
        (
            select
                pg_catalog.array_agg(
                    coalesce(pg_catalog.col_description(views.oid, columns.attnum), '') order by columns.attnum
                )
            from pg_catalog.pg_attribute as columns
            where columns.attrelid = views.oid and columns.attnum > 0 and not columns.attisdropped
        ),
        array[]::text []
    ) as column_comments,
    coalesce(
        pg_catalog.has_table_privilege(pg_catalog.to_regrole('quantbot_reader')::oid, views.oid, 'select'), true
    ) as is_readable
from pg_catalog.pg_class as views
inner join pg_catalog.pg_namespace as schemas on views.relnamespace = schemas.oid
where schemas.nspname = 'public' and views.relkind = 'v'
