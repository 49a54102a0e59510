-- The best trials of the search that was completed last.
-- grain: one row per trial, best first; trials without a score come last
-- parameters: trial_limit
-- units: higher scores are better
with
newest_job as (
    select
        id,
        name,
        objective
    from optimization_jobs
    where status = 'completed'
    order by
        completed_at desc,
        id desc
    limit 1
)

select
    newest_job.name as job,
    newest_job.objective,
    trials.trial_index,
    trials.score,
    trials.trial_params_json,
    trials.metrics_json,
    count(*) over () as trial_count
from optimization_trials as trials
inner join newest_job on trials.job_id = newest_job.id
order by
    trials.score desc nulls last,
    trials.trial_index
limit %(trial_limit)s
