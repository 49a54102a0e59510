-- grain: one row per quarantined row, the first ones of each import, in the order of the import
-- keys: import_id, file, line
select
    asked.import_id,
    refused.file,
    refused.line,
    refused.field,
    refused.reason,
    refused.raw_text
from unnest(%(import_ids)s::bigint []) as asked (import_id)
cross join lateral (
    select
        quarantine.id,
        quarantine.file,
        quarantine.line,
        quarantine.field,
        quarantine.reason,
        quarantine.raw_text
    from quarantine
    where quarantine.import_id = asked.import_id
    order by quarantine.line, quarantine.id
    limit %(row_limit)s
) as refused
order by asked.import_id, refused.line, refused.id
