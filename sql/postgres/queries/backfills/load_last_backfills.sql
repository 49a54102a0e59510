-- grain: the last backfill of each selection, the newest first
-- keys: backfill_id
select
    backfills.id as backfill_id,
    backfills.selection_json,
    backfills.status,
    backfills.token_month_count,
    backfills.started_at
from backfills
where
    not exists (
        select 1
        from backfills as later
        where later.selection_key = backfills.selection_key and later.id > backfills.id
    )
order by backfills.id desc
