-- grain: one candle of some partitions. All columns, whatever later migrations add: what is copied must be whole.
select *
from {table:Identifier} final
where _partition_id in {partition_ids:Array(String)}
settings do_not_merge_across_partitions_select_final = 1
