-- grain: at most one row: the import of a content with certain options, whatever its status
-- keys: kind, sha256, options_key
select
    imports.id as import_id,
    imports.status,
    imports.file,
    imports.rows_read,
    imports.rows_stored,
    imports.rows_duplicate,
    imports.rows_quarantined,
    imports.details_json
from imports
where
    imports.kind = %(kind)s
    and imports.sha256 = %(sha256)s
    and imports.options_key = %(options_key)s
