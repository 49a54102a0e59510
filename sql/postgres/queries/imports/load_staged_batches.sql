-- grain: one staged batch, with what is recorded of it: nothing where its import was completed before batches were kept
-- keys: position
select
    staged.position,
    imports.id as import_id,
    imports.status,
    coalesce(recorded.rows_read, staged.rows_read) as rows_read,
    coalesce(recorded.rows_stored, staged.rows_stored) as rows_stored,
    coalesce(recorded.rows_duplicate, staged.rows_duplicate) as rows_duplicate,
    coalesce(recorded.rows_quarantined, staged.rows_quarantined) as rows_quarantined,
    coalesce(recorded.details_json, staged.details_json) as details_json,
    recorded.inserted_at is not null as is_inserted
from staged_batches as staged
inner join imports
    on
        staged.kind = imports.kind
        and staged.sha256 = imports.sha256
        and staged.options_key = imports.options_key
left join import_batches as recorded
    on imports.id = recorded.import_id and staged.batch_number = recorded.batch_number
order by staged.position
