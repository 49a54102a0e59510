-- `ready` says that a model is better than its baselines, and no more only that its file can be loaded: those that
-- are known not to be are failed. From now on the database holds it.

update ml_models
set status = 'failed'
where status in ('ready', 'deprecated') and metrics_json ->> 'beats_baseline' = 'false';

alter table ml_models
add constraint ml_models_ready_beats_baselines
check (status <> 'ready' or (metrics_json ->> 'beats_baseline') is distinct from 'false');

comment on column ml_models.status is
'training, ready (in use: better than its baselines), deprecated (was ready), failed (not better than them).';
