-- grain: one interval of one of the tokens asked for in one partition that has the parts that it was hashed with
-- keys: chain, token_address, partition_id, interval
-- units: as in load_contents; an empty interval says that the token has no candles in the partition
select
    k.partition_id as partition_id,
    k.chain as chain,
    k.token_address as token_address,
    k.interval as interval,
    k.month as month,
    k.candle_count as candle_count,
    k.first_s as first_s,
    k.last_s as last_s,
    k.content as content,
    k.imported as imported
from candle_contents as k final
where
    (k.chain, k.token_address) in (
        select
            w.1 as chain,
            w.2 as token_address
        from (select arrayJoin(arrayZip({chains:Array(String)}, {token_addresses:Array(String)})) as w)
    )
    and (k.partition_id, k.parts_digest) in (
        select
            p.1 as partition_id,
            p.2 as parts_digest
        from (select arrayJoin(arrayZip({partition_ids:Array(String)}, {parts_digests:Array(String)})) as p)
    )
