-- What is known of a candle beyond its numbers, as a set of bits:
--   1  its volume was missing (NaN, empty) on an idle bar and became 0
--   2  its wick is distorted by the rule of the import; the prices are as imported
--   4  it was made from candles of a finer interval; 1 and 2 then say that one of these had them
-- Rows from before have 0. imported_at stays the version: a resampled candle carries the time of its making less
-- 50 years, so that every imported candle of its key wins over it, and of two resampled ones the newer wins.
alter table ohlcv_candles add column if not exists flags UInt8 default 0 codec(ZSTD(1));
