-- Why rows of imported files could not be used.
-- grain: one row per kind of import, field and kind of reason, most rows first. Reasons that differ only in the
--   value found (in quotes) or in numbers are one kind; the example is the first of them. resolved_count:
--   those of them that went in with another import of the same file.
-- parameters: reason_limit
with
kinds as (
    select
        quarantine.id,
        quarantine.kind,
        quarantine.field,
        quarantine.file,
        quarantine.line,
        quarantine.reason,
        quarantine.resolved_at,
        regexp_replace(
            regexp_replace(quarantine.reason, '''[^'']*''|"[^"]*"', '…', 'g'),
            '[0-9][0-9.eE+-]*',
            '#',
            'g'
        ) as reason_kind
    from quarantined_rows as quarantine
)

select
    kind,
    field,
    count(*) as row_count,
    count(resolved_at) as resolved_count,
    (array_agg(reason order by id))[1] as example,
    (array_agg(file order by id))[1] as example_file,
    (array_agg(line order by id))[1] as example_line
from kinds
group by
    kind,
    field,
    reason_kind
order by
    count(*) desc,
    kind,
    field,
    reason_kind
limit %(reason_limit)s
