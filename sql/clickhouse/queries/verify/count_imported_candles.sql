-- grain: one row: candles that were imported; those that were resampled were counted by no import
select toInt64(count()) as candles
from ohlcv_candles final
where bitAnd(flags, 4) = 0
settings do_not_merge_across_partitions_select_final = 1
