-- grain: one token in one partition; candle_count holds double rows that are not merged yet
select
    _partition_id as partition_id,
    token_address,
    toInt64(count()) as candle_count
from {table:Identifier}
group by partition_id, token_address
order by partition_id, token_address
