-- grain: one candle of some tokens of one partition. All columns: what is copied must be whole.
select *
from {table:Identifier} final
where _partition_id = {partition_id:String} and token_address in {token_addresses:Array(String)}
settings do_not_merge_across_partitions_select_final = 1
