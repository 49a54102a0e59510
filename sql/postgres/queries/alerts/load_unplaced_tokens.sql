-- grain: one row per 0x address on which there is an alert that nothing places on a chain
-- keys: address
-- upstream: tokens, alerts
select
    tokens.address,
    count(*) as alert_count
from tokens
inner join alerts on tokens.id = alerts.token_id
where tokens.chain = 'unknown-evm'
group by tokens.address
order by tokens.address
