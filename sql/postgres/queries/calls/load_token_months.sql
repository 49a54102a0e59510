-- grain: one month of one token in which there are active calls, of alerts of some imports or of all
-- keys: chain, address, month
-- units: month = YYYY-MM, UTC
-- upstream: calls, alerts, tokens
-- A null in import_ids means: of all.
select distinct
    tokens.chain,
    tokens.address,
    to_char(calls.signal_timestamp at time zone 'UTC', 'YYYY-MM') as month
from calls
inner join alerts on calls.alert_id = alerts.id
inner join tokens on calls.token_id = tokens.id
where
    calls.is_active
    and (%(import_ids)s::bigint [] is null or alerts.import_id = any(%(import_ids)s))
order by tokens.chain, tokens.address, month
