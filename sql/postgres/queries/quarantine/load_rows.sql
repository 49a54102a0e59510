-- grain: one quarantined row, newest import first, in the order of the file
-- keys: import_id, line
-- A null in file, kind or limit means: no such bound. A file is found by its name, or by the end of its path.
-- resolved_at: when another import of the same file took the row in; null while none has
select
    refused.import_id,
    refused.kind,
    refused.file,
    refused.line,
    refused.field,
    refused.reason,
    refused.raw_text,
    refused.imported_at,
    refused.resolved_at
from quarantined_rows as refused
inner join imports on refused.import_id = imports.id
where
    (%(kind)s::text is null or refused.kind = %(kind)s)
    and (
        %(file)s::text is null
        or refused.file = %(file)s
        or imports.file = %(file)s
        or right(refused.file, length(%(file)s) + 1) = '/' || %(file)s
    )
    and (not %(is_open_only)s or refused.resolved_at is null)
order by refused.import_id desc, refused.line, refused.id
limit %(limit)s::bigint
