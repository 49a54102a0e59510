copy staged_trials (
    job_id,
    trial_index,
    trial_params_json,
    simulation_run_id,
    metrics_json,
    score,
    state,
    scores_json,
    violation,
    reason,
    look_scores_json
) from stdin
