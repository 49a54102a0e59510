-- grain: one row: trials, those without the run that measured them, with a score and no run, or missing between
--   others of a completed job that keeps all of them, the first of them
with broken as (
    select
        trials.job_id,
        trials.trial_index,
        concat(
            'trial ', trials.trial_index, ' of job ', trials.job_id, ' has a score and ',
            case
                when trials.simulation_run_id is null then 'no run'
                else concat('run ', trials.simulation_run_id, ', which is ', coalesce(runs.status, 'not there'))
            end
        ) as example
    from optimization_trials as trials
    left join simulation_runs as runs on trials.simulation_run_id = runs.id
    where
        (trials.simulation_run_id is not null and runs.status is distinct from 'completed')
        or (trials.simulation_run_id is null and trials.score is not null)
    union all
    select
        jobs.id as job_id,
        0 as trial_index,
        concat('job ', jobs.id, ' is completed and has ', count(trials.id), ' trials, the last one is number ',
        max(trials.trial_index)) as example
    from optimization_jobs as jobs
    left join optimization_trials as trials on jobs.id = trials.job_id
    where jobs.status = 'completed'
    group by jobs.id, jobs.plan_json, jobs.tally_json
    having
        -- A large search keeps the rows of its best trials alone; one without a scored trial keeps none. One that
        -- was ended by its time says so in its note, and may have none yet.
        case
            when jobs.plan_json @> '{"stores_all_trials": false}'
                then count(trials.id) = 0 and jobs.tally_json -> 'counts' ? 'scored'
            else
                count(trials.id) <> coalesce(max(trials.trial_index), -1) + 1
                or (count(trials.id) = 0 and jobs.note is null)
        end
)

select
    (select count(*) from optimization_trials) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by job_id, trial_index limit 5) as first_ones
    ) as examples
