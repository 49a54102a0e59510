-- A row that one import refused may have gone in with another of the same file: with the zone that it lacked, say.

create view quarantined_rows as
select
    quarantine.id,
    quarantine.import_id,
    imports.kind,
    quarantine.file,
    quarantine.line,
    quarantine.field,
    quarantine.reason,
    quarantine.raw_text,
    quarantine.created_at,
    imports.imported_at,
    (
        select min(others.imported_at)
        from imports as others
        where
            others.kind = imports.kind
            and others.sha256 = imports.sha256
            and others.id <> imports.id
            and others.status = 'completed'
            -- Else options decide what counts as a row, and what is not refused may not have been read.
            and others.rows_read = imports.rows_read
            and quarantine.line is not null
            and not exists (
                select 1
                from quarantine as again
                where again.import_id = others.id and again.line = quarantine.line
            )
    ) as resolved_at
from quarantine
inner join imports on quarantine.import_id = imports.id;

comment on view quarantined_rows is
'One row per quarantined row, with its import, and whether another import of the same content took it in.';
comment on column quarantined_rows.resolved_at is
'When the first import was completed that read the same bytes with other options and did not refuse the row; null: none.';
