-- grain: one month in which calls were made, in force or not
-- keys: month
-- units: month = YYYY-MM, UTC; digest changes when a simulation of the month's calls could
-- upstream: calls
select
    to_char(signal_timestamp at time zone 'UTC', 'YYYY-MM') as month,
    count(*) filter (where is_active) as row_count,
    count(*) filter (where not is_active) as inactive_count,
    -- Inactive calls are read by nobody: they are no part of the digest.
    coalesce(
        sum(
            hashtextextended(
                concat_ws(
                    '|',
                    id,
                    token_id,
                    caller_id,
                    side,
                    signal_type,
                    extract(epoch from signal_timestamp)
                ),
                0
            )
        ) filter (where is_active),
        0
    )::text as digest
from calls
group by month
order by month
