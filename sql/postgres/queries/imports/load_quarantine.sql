-- grain: one row per quarantined row of one import, in the order of the import
-- keys: id
select
    quarantine.file,
    quarantine.line,
    quarantine.field,
    quarantine.reason,
    quarantine.raw_text
from quarantine
where quarantine.import_id = %(import_id)s
order by quarantine.id
