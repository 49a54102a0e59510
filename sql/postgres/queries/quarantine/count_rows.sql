-- grain: one row per file and kind of import with quarantined rows among those asked for, newest import first
-- keys: import_id, file
-- A null in file or kind means: no such bound.
select
    quarantine.import_id,
    imports.kind,
    quarantine.file,
    count(*) as quarantined
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
group by quarantine.import_id, imports.kind, quarantine.file
order by quarantine.import_id desc, quarantine.file
