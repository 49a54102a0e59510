-- grain: one row; the first choice stays
insert into token_pools (token_id, source, pool_address, side, pool_created_at)
values (
    %(token_id)s,
    %(source)s,
    %(pool_address)s,
    %(side)s,
    %(pool_created_at)s
)
on conflict (token_id, source) do nothing
