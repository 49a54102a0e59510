-- grain: one row per staged (chain, address); a symbol replaces another one, a null leaves what is known.
-- Sorted by key, so that concurrent writers lock rows in one order and cannot deadlock.
insert into tokens (chain, address, symbol)
select
    staged.chain,
    staged.address,
    max(staged.symbol)
from staged_tokens as staged
group by staged.chain, staged.address
order by staged.chain, staged.address
on conflict (chain, address) do update
set symbol = excluded.symbol
where excluded.symbol is not null and tokens.symbol is distinct from excluded.symbol
