-- grain: one row: imports, those whose counts do not add up, the first of them
-- units: rows
with quarantined as (
    select
        import_id,
        count(*) as quarantined_rows
    from quarantine
    group by import_id
),

batches as (
    select
        import_id,
        sum(rows_read) as batch_rows_read,
        sum(rows_stored) as batch_rows_stored,
        sum(rows_duplicate) as batch_rows_duplicate,
        sum(rows_quarantined) as batch_rows_quarantined,
        coalesce(sum(rows_quarantined) filter (where inserted_at is not null), 0) as kept_rows_quarantined
    from import_batches
    group by import_id
),

stored as (
    select
        import_id,
        count(*) as stored_alerts
    from alerts
    where import_id is not null
    group by import_id
),

counted as (
    select
        imports.id,
        imports.kind,
        imports.file,
        imports.status,
        imports.rows_read,
        imports.rows_stored,
        imports.rows_duplicate,
        imports.rows_quarantined,
        batches.batch_rows_read,
        batches.batch_rows_stored,
        batches.batch_rows_duplicate,
        batches.batch_rows_quarantined,
        coalesce(stored.stored_alerts, 0) as stored_alerts,
        coalesce(quarantined.quarantined_rows, 0) as quarantined_rows,
        case
            when imports.status = 'completed' then imports.rows_quarantined
            else coalesce(batches.kept_rows_quarantined, 0)
        end as wanted_quarantined
    from imports
    left join quarantined on imports.id = quarantined.import_id
    left join batches on imports.id = batches.import_id
    left join stored on imports.id = stored.import_id
),

broken as (
    select
        id,
        concat(
            'import ',
            id,
            ' (',
            kind,
            ', ',
            file,
            '): ',
            case
                when rows_read <> rows_stored + rows_duplicate + rows_quarantined
                    then
                        concat(
                            rows_read, ' rows read, but ', rows_stored, ' stored + ', rows_duplicate, ' duplicate + ',
                            rows_quarantined, ' quarantined'
                        )
                when quarantined_rows <> wanted_quarantined
                    then concat(quarantined_rows, ' rows in quarantine, counted were ', wanted_quarantined)
                when kind = 'alerts' and stored_alerts <> rows_stored
                    then concat(stored_alerts, ' alerts name it, counted were ', rows_stored)
                else 'its batches have other sums'
            end
        ) as example
    from counted
    where
        rows_read <> rows_stored + rows_duplicate + rows_quarantined
        or quarantined_rows <> wanted_quarantined
        or (kind = 'alerts' and status = 'completed' and stored_alerts <> rows_stored)
        or (
            status = 'completed'
            and batch_rows_read is not null
            and (
                batch_rows_read <> rows_read
                or batch_rows_quarantined <> rows_quarantined
                or batch_rows_stored + batch_rows_duplicate <> rows_stored + rows_duplicate
            )
        )
)

select
    (select count(*) from counted) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
