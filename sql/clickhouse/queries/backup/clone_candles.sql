-- A second name for the parts that hold all candles now: nothing is copied, and later imports do not show in it.
create table {clone:Identifier} clone as ohlcv_candles
