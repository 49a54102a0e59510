-- grain: one row, if the caller was no alias of that one yet
insert into caller_aliases (caller_id, canonical_caller_id)
values (%(caller_id)s, %(canonical_caller_id)s)
on conflict (caller_id) do update
set
    canonical_caller_id = excluded.canonical_caller_id,
    created_at = clock_timestamp()
where caller_aliases.canonical_caller_id <> excluded.canonical_caller_id
