-- Waits until no other process settles and inserts candles; held until unlocked, or until the connection ends.
select pg_advisory_lock(hashtextextended('quantbot candle imports', 0))
