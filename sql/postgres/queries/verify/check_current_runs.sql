-- grain: one row: runs, those that break the order of their scope, the first of them
-- A run that was superseded names itself (it lost all its calls) or a completed run of its scope that was claimed
-- later; followed from run to run this ends, so that a scope has one current run or none that has calls.
with broken as (
    select
        min(id) as id,
        concat('scope of run ', min(id), ' has ', count(*), ' current runs') as example
    from simulation_runs
    where status = 'completed' and superseded_by is null
    group by scope_key
    having count(*) > 1
    union all
    select
        runs.id,
        concat(
            'run ', runs.id, ' (', runs.status, ') was superseded by run ', runs.superseded_by, ', which is ',
            case
                when successors.scope_key <> runs.scope_key then 'of another scope'
                when successors.status <> 'completed' then successors.status
                else 'older'
            end
        ) as example
    from simulation_runs as runs
    inner join simulation_runs as successors on runs.superseded_by = successors.id
    where
        successors.scope_key <> runs.scope_key
        or successors.status <> 'completed'
        or runs.status <> 'completed'
        or (
            successors.id <> runs.id
            and (successors.claimed_at, successors.id) < (runs.claimed_at, runs.id)
        )
)

select
    (select count(*) from simulation_runs) as looked_at,
    (select count(*) from broken) as wrong,
    (
        select coalesce(jsonb_agg(first_ones.example), '[]')
        from (select example from broken order by id limit 5) as first_ones
    ) as examples
