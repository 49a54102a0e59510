-- grain: the last backfill of a selection
-- keys: backfill_id
select
    backfills.id as backfill_id,
    backfills.status,
    backfills.token_month_count,
    backfills.started_at,
    backfills.finished_at
from backfills
where backfills.selection_key = %(selection_key)s
order by backfills.id desc
limit 1
