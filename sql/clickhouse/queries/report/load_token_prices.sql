-- Prices of tokens over all of their time, in cells of equal length.
-- grain: one row per token and cell that has a candle, oldest first
-- parameters: chains and token_addresses, pairwise; cell_limit: cells of a token at most
-- units: cell_s seconds since the epoch, UTC, of the cell's start; prices in quote currency, candles of every interval
with
wanted as
(
    select
        chain,
        token_address,
        toInt64(toUnixTimestamp(timestamp)) as opened_s,
        close
    from ohlcv_candles final
    where (chain, token_address) in arrayZip({chains:Array(String)}, {token_addresses:Array(String)})
),

spans as
(
    select
        chain,
        token_address,
        min(opened_s) as first_s,
        intDiv(max(opened_s) - min(opened_s), {cell_limit:Int64}) + 1 as cell_seconds
    from wanted
    group by chain, token_address
)

select
    wanted.chain as chain,
    wanted.token_address as token_address,
    min(spans.first_s + intDiv(wanted.opened_s - spans.first_s, spans.cell_seconds) * spans.cell_seconds) as cell_s,
    min(spans.cell_seconds) as cell_seconds,
    argMax(wanted.close, wanted.opened_s) as close
from wanted
inner join spans on wanted.chain = spans.chain and wanted.token_address = spans.token_address
group by chain, token_address, intDiv(wanted.opened_s - spans.first_s, spans.cell_seconds)
order by chain, token_address, cell_s
settings do_not_merge_across_partitions_select_final = 1
