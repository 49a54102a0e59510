-- grain: one token, by id, from after_id on
-- keys: id
select
    id,
    chain,
    address
from tokens
where id > %(after_id)s
order by id
limit %(row_limit)s
