select pg_advisory_unlock(hashtextextended('quantbot candle imports', 0))
