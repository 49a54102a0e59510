-- grain: one row: an import whose batches from `batch_number` on were cut otherwise. Their rows are stored already; the
-- count of these goes to the import, their records and quarantined rows go away.
with given_up as (
    delete from import_batches
    where import_id = %(import_id)s and batch_number >= %(batch_number)s
    returning batch_number, rows_stored, inserted_at
),

unquarantined as (
    delete from quarantine
    where
        import_id = %(import_id)s
        and batch_number in (select given_up.batch_number from given_up)
)

update imports
set
    rows_stored_before = rows_stored_before + coalesce(
        (select sum(given_up.rows_stored) from given_up where given_up.inserted_at is not null),
        0
    )
where id = %(import_id)s and status = 'started'
