-- grain: one row per batch that an import which is not completed has brought in
-- keys: kind, sha256, options_key, batch_number
select
    imports.id as import_id,
    imports.kind,
    imports.sha256,
    imports.options_key,
    imports.file,
    recorded.batch_number,
    recorded.rows_read,
    recorded.rows_stored,
    recorded.rows_duplicate,
    recorded.rows_quarantined,
    recorded.details_json
from imports
inner join
    unnest(%(kinds)s::text [], %(sha256s)s::text [], %(options_keys)s::text []) as asked (kind, sha256, options_key)
    on
        imports.kind = asked.kind
        and imports.sha256 = asked.sha256
        and imports.options_key = asked.options_key
inner join import_batches as recorded on imports.id = recorded.import_id
where imports.status = 'started' and recorded.inserted_at is not null
