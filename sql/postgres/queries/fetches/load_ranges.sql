-- grain: one begun or fetched range of one token, source and interval
-- keys: start_at, end_at
-- upstream: fetched_ranges
select
    fetched_ranges.start_at,
    fetched_ranges.end_at,
    fetched_ranges.fetched_at is not null as is_complete
from fetched_ranges
where
    fetched_ranges.token_id = %(token_id)s
    and fetched_ranges.source = %(source)s
    and fetched_ranges.interval = %(interval)s
order by fetched_ranges.start_at, fetched_ranges.end_at
