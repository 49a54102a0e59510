-- grain: one month of one interval of one of the tokens asked for
-- keys: chain, token_address, interval, month
-- partition_ids: the partitions of ohlcv_candles to look at; none: all of them
-- units: month YYYY-MM in UTC; first_s and last_s open times of the first and last candle, UTC seconds
-- content: 128 bits over all values of the candles, whatever their order: sums of two unlike hashes (the others of
-- ClickHouse's quick hashes are one and the same over several numbers). imported changes with every import, also with
-- one of the same values.
-- Who changes these hashes counts up the form in load_parts_digests.sql.
select
    c._partition_id as partition_id,
    c.chain as chain,
    c.token_address as token_address,
    c.interval as interval,
    formatDateTime(toStartOfMonth(c.timestamp), '%Y-%m') as month,
    toInt64(count()) as candle_count,
    toInt64(toUnixTimestamp(min(c.timestamp))) as first_s,
    toInt64(toUnixTimestamp(max(c.timestamp))) as last_s,
    concat(
        hex(sum(cityHash64(c.timestamp, c.open, c.high, c.low, c.close, c.volume))),
        hex(sum(xxh3(c.timestamp, c.open, c.high, c.low, c.close, c.volume)))
    ) as content,
    toInt64(sum(toUnixTimestamp64Micro(c.imported_at))) as imported
from ohlcv_candles as c final
where
    (c.chain, c.token_address) in (
        select
            w.1 as chain,
            w.2 as token_address
        from (select arrayJoin(arrayZip({chains:Array(String)}, {token_addresses:Array(String)})) as w)
    )
    and (empty({partition_ids:Array(String)}) or c._partition_id in {partition_ids:Array(String)})
group by partition_id, chain, token_address, interval, month
order by chain, token_address, interval, month
settings do_not_merge_across_partitions_select_final = 1
