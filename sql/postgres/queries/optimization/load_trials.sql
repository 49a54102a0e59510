-- grain: one row per trial of one job, best first
-- keys: trial_index
-- units: score in the job's objective, higher is better
select
    row_number() over (order by trials.score desc nulls last, trials.trial_index) as score_rank,
    trials.trial_index,
    trials.trial_params_json,
    trials.simulation_run_id,
    trials.metrics_json,
    trials.score,
    trials.state,
    trials.scores_json,
    trials.violation,
    trials.reason,
    trials.look_scores_json
from optimization_trials as trials
where trials.job_id = %(job_id)s
order by score_rank
