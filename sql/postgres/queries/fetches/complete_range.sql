-- grain: one row: a begun range, all of which is stored now
update fetched_ranges
set
    rows_received = %(rows_received)s,
    fetched_at = clock_timestamp()
where
    fetched_ranges.token_id = %(token_id)s
    and fetched_ranges.source = %(source)s
    and fetched_ranges.interval = %(interval)s
    and fetched_ranges.start_at = %(start_at)s
    and fetched_ranges.end_at = %(end_at)s
