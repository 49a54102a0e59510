-- Searches: what was asked for, how far it is, whether its winner is luck; and runs that are measured without a trace.

alter table optimization_jobs
add column plan_json jsonb not null default '{}',
add column data_json jsonb not null default '{}',
add column tally_json jsonb,
add column verdict_json jsonb,
add column evidence_json jsonb,
add column times_json jsonb,
add column note text;

comment on column optimization_jobs.plan_json is 'What was asked for: sampler, seed, trials, batches, data, windows.';
comment on column optimization_jobs.data_json is 'What the selection of data came to.';
comment on column optimization_jobs.tally_json is 'Counts, best trials, front and a sample of all scores.';
comment on column optimization_jobs.verdict_json is
'Whether the winner is distinguishable from luck, with the numbers (docs/honesty.md); null before the end.';
comment on column optimization_jobs.evidence_json is 'What the verdict was made of: windows, trades, splits.';
comment on column optimization_jobs.times_json is 'Seconds of the process that ended the job, by stage.';
comment on column optimization_jobs.note is
'Why a completed job is not what was asked for; the same job without that reason goes on from it.';

alter table optimization_trials
add column state text not null default 'scored'
check (state in ('scored', 'unscored', 'pruned', 'refused', 'failed')),
add column scores_json jsonb,
add column violation double precision not null default 0 check (violation >= 0 and violation < 'Infinity'),
add column reason text not null default '',
add column look_scores_json jsonb;

update optimization_trials
set state = case when simulation_run_id is null then 'refused' else 'unscored' end
where score is null;

comment on column optimization_trials.state is
'unscored: run, but a limit is missed or a goal has no value; refused: no valid strategy.';
comment on column optimization_trials.scores_json is 'One score per goal, higher is better; null unless scored.';
comment on column optimization_trials.violation is 'How far from having a score; 0 with one.';
comment on column optimization_trials.reason is 'Why there is no score; empty with one.';
comment on column optimization_trials.look_scores_json is 'Scores at the early looks of pruning.';

alter table simulation_runs
add constraint simulation_runs_untraced_are_trials
check (events_digest <> 'metrics-only' or run_type = 'optimization') not valid;

comment on column simulation_runs.events_digest is
'Digest of the run''s events, equal for equal keys; metrics-only: measured without events, which only trials may be.';
