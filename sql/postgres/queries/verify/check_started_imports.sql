-- grain: one row: imports, those that were begun and of which nothing came since a time, the first of them
with latest_batches as (
    select
        import_id,
        max(greatest(created_at, inserted_at)) as latest_at
    from import_batches
    group by import_id
),

broken as (
    select
        imports.id,
        concat(
            'import ', imports.id, ' (', imports.kind, ', ', imports.file, ') was begun at ',
            to_char(imports.created_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), ' and is not completed'
        ) as example
    from imports
    left join latest_batches on imports.id = latest_batches.import_id
    where
        imports.status <> 'completed'
        and greatest(imports.created_at, latest_batches.latest_at) < %(stale_before)s::timestamptz
)

select
    (select count(*) from imports) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
