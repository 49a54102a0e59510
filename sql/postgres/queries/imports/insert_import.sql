-- grain: one row; none when this content was begun before. Waits for a concurrent writer of the same key.
insert into imports (
    kind,
    file,
    sha256,
    options_key,
    status,
    rows_read,
    rows_stored,
    rows_duplicate,
    rows_quarantined,
    details_json
)
values (
    %(kind)s,
    %(file)s,
    %(sha256)s,
    %(options_key)s,
    'started',
    %(rows_read)s,
    %(rows_stored)s,
    %(rows_duplicate)s,
    %(rows_quarantined)s,
    %(details_json)s
)
on conflict (kind, sha256, options_key) do nothing
