-- Trials of one write; gone when the transaction ends.
create temporary table staged_trials (
    job_id bigint not null,
    trial_index integer not null,
    trial_params_json jsonb not null,
    simulation_run_id bigint,
    metrics_json jsonb not null,
    score double precision,
    state text not null,
    scores_json jsonb,
    violation double precision not null,
    reason text not null,
    look_scores_json jsonb
) on commit drop
