-- grain: one row: what the insert found stored already
update imports
set
    rows_stored = %(rows_stored)s,
    rows_duplicate = %(rows_duplicate)s
where id = %(import_id)s
