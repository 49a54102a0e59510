-- The verdict on the candles that a run read, as Postgres has it: unknown, good, gaps, stale or sparse.
alter table published_runs add column if not exists data_quality LowCardinality(String) default 'unknown';
