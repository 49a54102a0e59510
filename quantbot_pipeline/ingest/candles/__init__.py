"""Candle files of every kind: which columns, times and intervals their rows have, before any rule is applied."""
