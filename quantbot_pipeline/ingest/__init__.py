"""Files in, checked rows out: candles, alerts, and what was refused. Pure parsers, no database."""
