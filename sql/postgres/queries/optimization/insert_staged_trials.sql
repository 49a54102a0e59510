-- grain: one row per trial index that is not stored yet; sorted by key against deadlocks.
insert into optimization_trials (
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
)
select
    staged.job_id,
    staged.trial_index,
    staged.trial_params_json,
    staged.simulation_run_id,
    staged.metrics_json,
    staged.score,
    staged.state,
    staged.scores_json,
    staged.violation,
    staged.reason,
    staged.look_scores_json
from staged_trials as staged
order by staged.job_id, staged.trial_index
on conflict (job_id, trial_index) do nothing
