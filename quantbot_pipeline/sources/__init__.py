"""Candle sources behind HTTP: one client for all, and per API its addresses, pages and shapes.

Lives here: what is asked, how often, how long it is waited for, and how an answer becomes rows for
`ingest.candle_checks`. Does not live here: which candles are needed, and where they are stored (see
`workflows.fetch_candles`). Nothing here knows a database, a setting or Dagster. `docs/sources.md` says what each API
documents and what follows from it.
"""
