-- The trials of a search, best first, without what only the best ones are shown with.
-- grain: one row per trial
-- parameters: job_id, trial_limit, and metrics_limit: of how many the metrics are wanted
-- units: higher scores are better
with
ranked as (
    select
        trials.*,
        row_number() over (order by trials.score desc nulls last, trials.trial_index) as score_rank
    from optimization_trials as trials
    where trials.job_id = %(job_id)s
)

select
    ranked.trial_index,
    ranked.trial_params_json,
    ranked.simulation_run_id,
    ranked.score,
    ranked.state,
    ranked.scores_json,
    ranked.violation,
    ranked.reason,
    case when ranked.score_rank <= %(metrics_limit)s then ranked.metrics_json end as metrics_json
from ranked
order by ranked.score_rank
limit %(trial_limit)s
