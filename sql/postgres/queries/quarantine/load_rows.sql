-- grain: one quarantined row, newest import first, in the order of the file
-- keys: import_id, line
-- A null in file, kind or limit means: no such bound. A file is found by its name, or by the end of its path.
select
    quarantine.import_id,
    imports.kind,
    quarantine.file,
    quarantine.line,
    quarantine.field,
    quarantine.reason,
    quarantine.raw_text,
    imports.imported_at
from quarantine
inner join imports on quarantine.import_id = imports.id
where
    (%(kind)s::text is null or imports.kind = %(kind)s)
    and (
        %(file)s::text is null
        or quarantine.file = %(file)s
        or imports.file = %(file)s
        or right(quarantine.file, length(%(file)s) + 1) = '/' || %(file)s
    )
order by quarantine.import_id desc, quarantine.line, quarantine.id
limit %(limit)s::bigint
