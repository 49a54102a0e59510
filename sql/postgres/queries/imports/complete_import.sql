-- grain: one row, if the import was begun and is not completed; the row lock makes its completion happen once.
update imports
set
    status = 'completed',
    imported_at = clock_timestamp()
where id = %(import_id)s and status = 'started'
