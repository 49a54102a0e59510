-- grain: one row; a range that is known stays as it is, begun or fetched
insert into fetched_ranges (token_id, source, interval, start_at, end_at, rows_received)
values (
    %(token_id)s,
    %(source)s,
    %(interval)s,
    %(start_at)s,
    %(end_at)s,
    %(rows_received)s
)
on conflict (token_id, source, interval, start_at, end_at) do nothing
