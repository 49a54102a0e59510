"""The simulation engine: candles, calls and a strategy in, trades and events out. Pure."""
