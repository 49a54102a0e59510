-- grain: one set of flags
-- keys: flags
-- units: flags as in 005_add_candle_flags.sql
select
    c.flags as flags,
    toInt64(count()) as candle_count
from ohlcv_candles as c final
group by flags
order by flags
settings do_not_merge_across_partitions_select_final = 1
