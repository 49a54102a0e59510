-- grain: one row per file and kind of import with quarantined rows among those asked for, newest import first
-- keys: import_id, file
-- A null in file or kind means: no such bound.
select
    refused.import_id,
    refused.kind,
    refused.file,
    count(*) as quarantined,
    count(refused.resolved_at) as resolved
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
group by refused.import_id, refused.kind, refused.file
order by refused.import_id desc, refused.file
