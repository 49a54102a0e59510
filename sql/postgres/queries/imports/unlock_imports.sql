-- End the turn of this connection at importing candles.
select pg_advisory_unlock(hashtextextended('quantbot candle imports', 0))
