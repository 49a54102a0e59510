-- grain: one row per staged batch of an import that is not completed. One that was counted before and not inserted
-- keeps its counts, unless the file is now read otherwise.
insert into import_batches (
    import_id,
    batch_number,
    rows_read,
    rows_stored,
    rows_duplicate,
    rows_quarantined,
    details_json
)
select
    imports.id,
    staged.batch_number,
    staged.rows_read,
    staged.rows_stored,
    staged.rows_duplicate,
    staged.rows_quarantined,
    staged.details_json
from staged_batches as staged
inner join imports
    on
        staged.kind = imports.kind
        and staged.sha256 = imports.sha256
        and staged.options_key = imports.options_key
        and imports.status = 'started'
order by imports.id, staged.batch_number
on conflict (import_id, batch_number) do update
set
    rows_read = excluded.rows_read,
    rows_stored = excluded.rows_stored,
    rows_duplicate = excluded.rows_duplicate,
    rows_quarantined = excluded.rows_quarantined,
    details_json = excluded.details_json
where
    import_batches.inserted_at is null
    and (import_batches.rows_read, import_batches.rows_quarantined)
    is distinct from (excluded.rows_read, excluded.rows_quarantined)
