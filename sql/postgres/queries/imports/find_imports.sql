-- grain: one row per content asked for that was completed
-- keys: kind, sha256, options_key
select
    imports.id as import_id,
    imports.kind,
    imports.sha256,
    imports.options_key,
    imports.file,
    imports.rows_read,
    imports.rows_stored,
    imports.rows_duplicate,
    imports.rows_quarantined,
    imports.details_json
from imports
inner join
    unnest(%(kinds)s::text [], %(sha256s)s::text [], %(options_keys)s::text []) as asked (kind, sha256, options_key)
    on
        imports.kind = asked.kind
        and imports.sha256 = asked.sha256
        and imports.options_key = asked.options_key
where imports.status = 'completed'
