-- grain: one row per import whose batches are all in; one that is completed already stays as it is
with sums as (
    select
        import_batches.import_id,
        sum(import_batches.rows_read)::bigint as rows_read,
        sum(import_batches.rows_stored)::bigint as rows_stored,
        sum(import_batches.rows_duplicate)::bigint as rows_duplicate,
        sum(import_batches.rows_quarantined)::bigint as rows_quarantined
    from import_batches
    where import_batches.import_id = any(%(import_ids)s::bigint [])
    group by import_batches.import_id
)

update imports
set
    status = 'completed',
    imported_at = clock_timestamp(),
    rows_read = sums.rows_read,
    rows_stored = sums.rows_stored + least(imports.rows_stored_before, sums.rows_duplicate),
    rows_duplicate = sums.rows_duplicate - least(imports.rows_stored_before, sums.rows_duplicate),
    rows_quarantined = sums.rows_quarantined,
    details_json = given.details_json::jsonb
from sums
inner join
    unnest(%(import_ids)s::bigint [], %(details_json)s::text []) as given (import_id, details_json)
    on sums.import_id = given.import_id
where imports.id = sums.import_id and imports.status = 'started'
