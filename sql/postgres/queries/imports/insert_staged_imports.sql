-- grain: one row per staged file's content that was never begun; its counts are those of its batches once they are in.
-- Sorted by key, so that concurrent writers lock rows in one order and cannot deadlock.
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
select distinct on (staged.kind, staged.sha256, staged.options_key)
    staged.kind,
    staged.file,
    staged.sha256,
    staged.options_key,
    'started',
    0,
    0,
    0,
    0,
    '{}'::jsonb
from staged_batches as staged
order by staged.kind, staged.sha256, staged.options_key, staged.position
on conflict (kind, sha256, options_key) do nothing
