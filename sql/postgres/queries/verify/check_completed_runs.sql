-- grain: one row: runs, those that are completed without all that belongs to it or the reverse, the first of them
with checked as (
    select
        runs.id,
        runs.status,
        runs.completed_at is not null and runs.events_digest is not null as has_result,
        summary.simulation_run_id is not null as has_summary
    from simulation_runs as runs
    left join simulation_results_summary as summary on runs.id = summary.simulation_run_id
),

broken as (
    select
        id,
        concat(
            'run ', id, ' is ', status, ' and has ', case when has_summary then 'a' else 'no' end, ' summary and ',
            case when has_result then 'a' else 'no' end, ' digest and time of completion'
        ) as example
    from checked
    where (status = 'completed') <> has_summary or (status = 'completed') <> has_result
)

select
    (select count(*) from checked) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
