-- grain: one row: candles that must be stored, and those that may be: an import counts before it inserts
-- units: rows
select
    coalesce(sum(counted.rows_stored) filter (where counted.is_in), 0)::bigint as rows_stored,
    coalesce(sum(counted.rows_stored) filter (where not counted.is_in), 0)::bigint as rows_pending
from (
    select
        imports.rows_stored,
        imports.status = 'completed' as is_in
    from imports
    where
        imports.kind = 'candles'
        and (
            imports.status = 'completed'
            or not exists (select 1 from import_batches where import_batches.import_id = imports.id)
        )
    union all
    select
        imports.rows_stored_before as rows_stored,
        true as is_in
    from imports
    where imports.kind = 'candles' and imports.status = 'started'
    union all
    select
        recorded.rows_stored,
        recorded.inserted_at is not null as is_in
    from import_batches as recorded
    inner join imports on recorded.import_id = imports.id
    where imports.kind = 'candles' and imports.status = 'started'
) as counted
