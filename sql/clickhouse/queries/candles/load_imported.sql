-- grain: one month of one interval of one of the tokens asked for
-- keys: chain, token_address, interval, month
-- units: as in load_contents; the same numbers while nothing is imported
select
    c.chain as chain,
    c.token_address as token_address,
    c.interval as interval,
    formatDateTime(toStartOfMonth(c.timestamp), '%Y-%m') as month,
    toInt64(sum(toUnixTimestamp64Micro(c.imported_at))) as imported
from ohlcv_candles as c final
where
    (c.chain, c.token_address) in (
        select
            w.1 as chain,
            w.2 as token_address
        from (select arrayJoin(arrayZip({chains:Array(String)}, {token_addresses:Array(String)})) as w)
    )
group by chain, token_address, interval, month
order by chain, token_address, interval, month
settings do_not_merge_across_partitions_select_final = 1
