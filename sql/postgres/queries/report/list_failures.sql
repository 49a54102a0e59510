-- Why runs, searches and token-months of backfills failed, the most frequent reason first.
-- grain: one row per area and kind of reason
-- parameters: reason_limit
-- units: as in mart_failure_reasons
select
    area,
    reason,
    failure_count,
    first_at,
    last_at,
    example
from mart_failure_reasons
where area <> 'quarantine'
order by failure_count desc, area, reason
limit %(reason_limit)s
