-- Parameter searches and trained models.

create table optimization_jobs (
    id bigint generated always as identity primary key,
    strategy_template_id bigint not null references strategies (id),
    name text not null check (name <> ''),
    search_space_json jsonb not null,
    objective text not null check (objective <> ''),
    job_key text not null check (job_key <> ''),
    status text not null check (status in ('pending', 'running', 'completed', 'failed')),
    created_at timestamptz not null default clock_timestamp(),
    started_at timestamptz,
    completed_at timestamptz,
    error_message text,
    constraint optimization_jobs_job_key_unique unique (job_key),
    constraint optimization_jobs_completed_has_time check ((status = 'completed') = (completed_at is not null)),
    constraint optimization_jobs_failed_says_why check (status <> 'failed' or error_message is not null)
);

create index optimization_jobs_strategy on optimization_jobs (strategy_template_id, created_at);

comment on table optimization_jobs is 'One row per parameter search; the same job key again is this row.';
comment on column optimization_jobs.strategy_template_id is 'The strategy whose parameters are varied.';
comment on column optimization_jobs.objective is 'What trials are ranked by.';
comment on column optimization_jobs.job_key is 'Identity of the search: template, space, objective, seed, data.';


create table optimization_trials (
    id bigint generated always as identity primary key,
    job_id bigint not null references optimization_jobs (id) on delete cascade,
    trial_index integer not null check (trial_index >= 0),
    trial_params_json jsonb not null,
    simulation_run_id bigint references simulation_runs (id),
    metrics_json jsonb not null,
    score double precision check (score > '-Infinity' and score < 'Infinity'),
    created_at timestamptz not null default clock_timestamp(),
    constraint optimization_trials_job_index_unique unique (job_id, trial_index)
);

create index optimization_trials_job_score on optimization_trials (job_id, score desc nulls last);
create index optimization_trials_run on optimization_trials (simulation_run_id);

comment on table optimization_trials is 'One row per trial of a search.';
comment on column optimization_trials.trial_index is 'Position within the search, from 0.';
comment on column optimization_trials.simulation_run_id is
'The run that measured the trial; null when the parameters make no valid strategy.';
comment on column optimization_trials.score is 'Higher is better; null when the trial has no valid score.';


create table ml_models (
    id bigint generated always as identity primary key,
    name text not null check (name <> ''),
    version text not null check (version <> ''),
    model_type text not null,
    input_features_json jsonb not null,
    label_definition jsonb not null,
    storage_uri text not null check (storage_uri <> ''),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    metrics_json jsonb not null,
    status text not null check (status in ('training', 'ready', 'deprecated', 'failed')),
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint ml_models_name_version_unique unique (name, version)
);

create trigger ml_models_set_updated_at before update on ml_models
for each row execute function set_updated_at();

-- The database itself holds the rule that a model name has at most one version in use.
create unique index ml_models_one_ready_per_name on ml_models (name) where status = 'ready';

comment on table ml_models is 'One row per model version.';
comment on column ml_models.input_features_json is 'Names of the input features, in the order of the columns.';
comment on column ml_models.label_definition is 'What the model predicts, as a document.';
comment on column ml_models.storage_uri is 'Where the model file is.';
comment on column ml_models.sha256 is 'Of the model file, hex; checked before it is loaded.';
