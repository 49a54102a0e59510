-- grain: one row per completed import of the files asked for
-- keys: kind, sha256, options_key
-- upstream: imports
select
    kind,
    sha256,
    rows_read,
    rows_stored,
    rows_duplicate,
    rows_quarantined
from imports
where
    status = 'completed'
    and sha256 = any(%(sha256)s::text [])
