-- grain: one row per batch that this statement finishes; a row lock makes it happen once
-- keys: import_id, batch_number
update import_batches
set inserted_at = clock_timestamp()
from unnest(%(import_ids)s::bigint [], %(batch_numbers)s::integer []) as finished (import_id, batch_number)
where
    import_batches.import_id = finished.import_id
    and import_batches.batch_number = finished.batch_number
    and import_batches.inserted_at is null
returning import_batches.import_id, import_batches.batch_number
