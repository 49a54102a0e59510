-- What the candles were like that a run read.

alter table simulation_runs
add column data_quality text not null default 'unknown'
check (data_quality in ('unknown', 'good', 'gaps', 'stale', 'sparse')),
add column data_quality_json jsonb not null default '{}',
add column cleared_attempt integer not null default 0 check (cleared_attempt >= 0);

comment on column simulation_runs.data_quality is
'Verdict on the candles that the run read (docs/candle-quality.md); unknown: completed before runs were judged.';
comment on column simulation_runs.data_quality_json is
'Why: coverage, gaps, trades over gaps, flat and flagged candles, sentences.';
comment on column simulation_runs.cleared_attempt is
'Attempts up to this one died and what they wrote was removed; they can complete the run no more.';
