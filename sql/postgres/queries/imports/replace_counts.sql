-- grain: one row: a started import whose file is now read otherwise
update imports
set
    rows_read = %(rows_read)s,
    rows_stored = %(rows_stored)s,
    rows_duplicate = %(rows_duplicate)s,
    rows_quarantined = %(rows_quarantined)s,
    details_json = %(details_json)s
where id = %(import_id)s and status = 'started'
