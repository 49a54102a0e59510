-- grain: one month in which alerts were made
-- keys: month
-- units: month = YYYY-MM, UTC; digest changes when an alert of the month is added or filled in
-- upstream: alerts
select
    to_char(alert_timestamp at time zone 'UTC', 'YYYY-MM') as month,
    count(*) as row_count,
    -- A sum of hashes does not depend on the order of rows, and needs no sort and no long text.
    sum(hashtextextended(concat_ws('|', content_key, token_id, alert_price, alert_market_cap), 0))::text
        as digest
from alerts
group by month
order by month
