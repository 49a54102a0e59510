copy staged_trials (
    job_id,
    trial_index,
    trial_params_json,
    simulation_run_id,
    metrics_json,
    score
) from stdin
